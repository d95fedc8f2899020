#!/bin/sh
# Prints the address of the Debian archive to build from: $CDP_DEBIAN_MIRROR, else the one that apt here uses.
set -eu

if [ -n "${CDP_DEBIAN_MIRROR:-}" ]; then
  echo "$CDP_DEBIAN_MIRROR"
  exit
fi
# shellcheck disable=SC2016 # apt's own placeholders
mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
  awk -F '|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
[ -n "$mirror" ] || {
  echo "debian-mirror.sh: apt on this machine names no Debian archive (or 'apt-get update' never ran): set CDP_DEBIAN_MIRROR to one" >&2
  exit 1
}
echo "$mirror"
