# shellcheck shell=sh
# shellcheck disable=SC2034 # for the scripts beside it, which read this file
# The other one of the two architectures of the platform, as Debian and Docker name it, and as Linux and qemu do.
case $(dpkg --print-architecture) in
  amd64) foreign=arm64 machine=aarch64 ;;
  arm64) foreign=amd64 machine=x86_64 ;;
  *)
    echo "$(basename "$0"): this machine is neither amd64 nor arm64, so it has no other architecture to try" >&2
    exit 1
    ;;
esac
