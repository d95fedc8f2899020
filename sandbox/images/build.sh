#!/bin/sh
# Builds one image from Debian packages: DIR then holds its layer, configuration and manifests.
#
#   build.sh NAME DIR      NAME is a folder beside this file
#
# DIR appears whole or not at all. Needs root and mmdebstrap. Debian's mirror is the one that this machine's apt
# uses, or $CDP_DEBIAN_MIRROR.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=$1
target=$2
# The newest date that a file in an image may have, so that the same packages make the same bytes.
SOURCE_DATE_EPOCH=1735689600
export SOURCE_DATE_EPOCH

die() {
  echo "build.sh: $1" >&2
  exit 1
}

mirror() {
  if [ -n "${CDP_DEBIAN_MIRROR:-}" ]; then
    echo "$CDP_DEBIAN_MIRROR"
    return
  fi
  # shellcheck disable=SC2016 # apt's own placeholders
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
    awk -F '|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
}

field() { "$here/oci.py" field "$here/$name/image.json" "$1"; }

[ -r "$here/$name/image.json" ] || die "there is no image '$name' in $here"
[ "$(id -u)" = 0 ] || die "only root can build a root file system: run it with sudo"
mirror=$(mirror)
[ -n "$mirror" ] ||
  die "apt on this machine names no Debian archive (or 'apt-get update' never ran): set CDP_DEBIAN_MIRROR to one"

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# /run is part of the images: the packages' socket folders are there.
TMPDIR=$work mmdebstrap --quiet --mode=root --variant=essential --format=tar --skip=cleanup/run \
  --include="$(field package),$(field packages)" \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-include=/usr/share/locale/locale.alias' \
  --essential-hook="'$here/$name/setup.sh' users \"\$1\"" \
  --customize-hook="'$here/$name/setup.sh' finish \"\$1\"" \
  --customize-hook="'$here/strip.sh' \"\$1\"" \
  --customize-hook="dpkg-query --admindir=\"\$1/var/lib/dpkg\" -W >'$work/packages.txt'" \
  "$(field suite)" "$work/root.tar" "$mirror" >"$work/build.log" 2>&1 || {
  tail -n 20 "$work/build.log" >&2
  die "the image '$name' could not be built; above are the last lines of mmdebstrap"
}
"$here/oci.py" pack "$here/$name/image.json" "$work" --architecture "$(dpkg --print-architecture)"
rm "$work/root.tar"
chmod 755 "$work"
mv -T "$work" "$target"
trap - EXIT
