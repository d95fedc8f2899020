#!/bin/sh
# Builds the root file system of the simulated machine from Debian packages: DIR/root.tar.
#
#   build.sh DIR
#
# DIR appears whole or not at all. Needs root and mmdebstrap. Debian's mirror is the one that this machine's apt
# uses, or $CDP_DEBIAN_MIRROR.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$1
# Newer releases have a systemd that does not boot where the cgroups are still those of version 1.
SUITE=bookworm
PACKAGES=systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,sudo,cloud-init,chrony,firewalld,iptables,iproute2
PACKAGES=$PACKAGES,xfsprogs,util-linux,procps,openssl,ca-certificates,docker.io,docker-registry

die() {
  echo "build.sh: $1" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || die "only root can build a root file system: run it with sudo"
mirror=$("$here/debian-mirror.sh")

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

TMPDIR=$work mmdebstrap --quiet --mode=root --variant=essential --format=tar --include="$PACKAGES" \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/i18n/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook="'$here/furnish.sh' \"\$1\"" \
  "$SUITE" "$work/root.tar" "$mirror" >"$work/build.log" 2>&1 || {
  tail -n 20 "$work/build.log" >&2
  die "the simulated machine could not be built; above are the last lines of mmdebstrap"
}
chmod 755 "$work"
mv -T "$work" "$target"
trap - EXIT
