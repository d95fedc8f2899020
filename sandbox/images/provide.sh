#!/bin/sh
# Provides the platform's images where no image registry can be reached: builds them from Debian packages,
# serves them from a registry on 127.0.0.1, and writes the catalogue that names them by digest.
#
#   provide.sh CATALOGUE [--socket PATH] [--bases FILE]
#
# CATALOGUE has the form of images.json. A second one, with .next.json in place of .json, names another PostgreSQL
# image that only its digest tells apart, to try an upgrade with. With --socket the Docker engine there pulls
# the images. With --bases there is also what applications are built on, and FILE names it in the same form.
# What was built once is kept in $CDP_CACHE_DIR, else ~/.cache/central-data-platform.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${CDP_CACHE_DIR:-$HOME/.cache/central-data-platform}
port=${CDP_REGISTRY_PORT:-5443}
NAMES="postgres redis pgbouncer"
BASES="python"
UNUSED_DAYS=14 # images of an older recipe are kept this long after their last use

die() {
  echo "provide.sh: $1" >&2
  exit 1
}

say() { echo "images: $1"; }

# All that decides what is in some images; a change of it makes new ones beside the old ones.
recipe_hash() { # NAME...
  {
    (cd "$here" && find add-user.sh build.sh oci.py strip.sh "$@" -type f -exec sha256sum '{}' + | LC_ALL=C sort)
    dpkg --print-architecture
  } | sha256sum | cut -c 1-16
}

build() { # FOLDER NAME
  folder=$1
  shift
  [ ! -d "$folder/$1" ] || return 0
  began=$(date +%s)
  say "$1: building it from Debian packages (about half a minute)"
  # Said here, since `set -e` does not hold on the left of a `||`.
  "$here/build.sh" "$1" "$folder/$1" || return 1
  say "$1: built in $(($(date +%s) - began)) s"
}

build_all() {
  # PostgreSQL's takes as long as the other two together.
  build "$images" postgres &
  first=$!
  failed=''
  (build "$images" redis && build "$images" pgbouncer) || failed=yes
  if [ -n "$bases" ]; then
    # shellcheck disable=SC2086 # a list of names
    (for name in $BASES; do build "$base_images" "$name" || exit 1; done) || failed=yes
  fi
  wait "$first" || failed=yes
  [ -z "$failed" ] || die "not every image could be built: see the lines above"
}

pull() { # CATALOGUE
  references=$("$here/oci.py" references "$1")
  for reference in $references; do
    docker --host "unix://$socket" image inspect "$reference" >/dev/null 2>&1 ||
      docker --host "unix://$socket" pull --quiet "$reference" >/dev/null ||
      die "the Docker engine on $socket cannot pull $reference"
  done
  say "the Docker engine on $socket has them"
}

[ $# -ge 1 ] || die "usage: provide.sh CATALOGUE [--socket PATH] [--bases FILE]"
catalogue=$1
shift
socket='' bases=''
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || die "option '$1' is unknown or lacks its value"
  case $1 in
    --socket) socket=$2 ;;
    --bases) bases=$2 ;;
    *) die "unknown option '$1': use --socket or --bases" ;;
  esac
  shift 2
done

command -v dpkg >/dev/null || die "images are built from Debian packages, and this machine has no dpkg: use Debian or Ubuntu"
"$here/../docker/ensure-packages.sh" mmdebstrap debian-archive-keyring docker-registry python3
mkdir -p "$cache"
exec 7>"$cache/images.lock"
flock -n 7 || {
  say "waiting for another build to end"
  flock 7
}
# shellcheck disable=SC2086 # lists of names
images=$cache/images-$(recipe_hash $NAMES) base_images=$cache/images-$(recipe_hash $BASES)
# What a build that was cut short has left; whole ones have no dot in their names.
rm -rf --one-file-system "$images"/*.* "$base_images"/*.*
# The lock goes with them: where this script is killed alone, the next one waits for the builds that go on.
build_all
touch "$images"
[ -z "$bases" ] || touch "$base_images"
find "$cache" -maxdepth 1 -name 'images-*' -mtime "+$UNUSED_DAYS" -exec rm -rf '{}' +
"$here/registry.sh" start --port "$port" --storage "$cache/registry"

push() { # FOLDER CATALOGUE SUFFIX NAME...
  folder=$1 file=$2 suffix=$3
  shift 3
  "$here/oci.py" push "$folder" "$file" "$@" --registry "127.0.0.1:$port" "--suffix=$suffix"
}

# shellcheck disable=SC2086 # lists of names
publish() {
  push "$images" "$catalogue" '' $NAMES
  push "$images" "${catalogue%.json}.next.json" -next $NAMES
  say "catalogue written to $catalogue"
  [ -z "$socket" ] || pull "$catalogue"
  "$here/oci.py" describe "$images" $NAMES
}

# shellcheck disable=SC2086 # a list of names
publish_bases() {
  push "$base_images" "$bases" '' $BASES
  [ -z "$socket" ] || pull "$bases"
  "$here/oci.py" describe "$base_images" $BASES
}

publish
[ -z "$bases" ] || publish_bases
