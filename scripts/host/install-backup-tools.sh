#!/bin/sh
# install-backup-tools.sh TOOL...: restic and rclone on the host, from its own repositories. What is there is left alone.
set -eu

fail() {
  echo "$1" >&2
  exit 1
}

install() {
  if command -v dnf >/dev/null; then
    # Oracle Linux has them in its copy of EPEL.
    [ ! -e /etc/oracle-release ] || rpm -q oracle-epel-release-el10 >/dev/null 2>&1 ||
      dnf -y -q install oracle-epel-release-el10 </dev/null >/dev/null || return 1
    dnf -y -q --setopt=install_weak_deps=False install "$@" </dev/null >/dev/null
  elif command -v apt-get >/dev/null; then
    # What apt says of a healthy installation is of no use to anybody; what it says of a failed one is.
    log=$(mktemp)
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" </dev/null >"$log" 2>&1 || {
      apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >"$log" 2>&1 &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" </dev/null >"$log" 2>&1
    } || {
      tail -n 5 "$log" >&2
      rm -f "$log"
      return 1
    }
    rm -f "$log"
  else
    fail "$* missing, and this machine has neither dnf nor apt-get to install with; install them by hand, then run up again"
  fi
}

missing=
for tool; do
  case $tool in
    restic | rclone) command -v "$tool" >/dev/null || missing="$missing $tool" ;;
    *) fail "unknown tool '$tool'; write restic or rclone" ;;
  esac
done
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086 # one word a package
install $missing ||
  fail "could not install$missing (the lines above say why); see that the machine reaches its package repositories, then run up again"
