#!/bin/sh
# Has the simulated machine's image in a Docker engine, and prints its name.
#
#   provide.sh        the engine is $DOCKER_HOST, else the client's default
#
# What was built once is kept in $CDP_CACHE_DIR, else ~/.cache/central-data-platform; every further engine gets its
# image from there. Progress goes to standard error.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${CDP_CACHE_DIR:-$HOME/.cache/central-data-platform}
IMAGE=cdp-simulated-machine
UNUSED_DAYS=14 # a machine of an older recipe is kept this long after its last use

die() {
  echo "provide.sh: $1" >&2
  exit 1
}

say() { echo "simulated machine: $1" >&2; }

# All that decides what is in the image; a change of it makes a new one beside the old.
recipe_hash() {
  {
    (cd "$here" && find build.sh furnish.sh files -type f -exec sha256sum '{}' + | LC_ALL=C sort)
    (cd "$here" && find files -type f -perm /111 | LC_ALL=C sort)
    dpkg --print-architecture
  } | sha256sum | cut -c 1-16
}

build() {
  [ ! -d "$built" ] || return 0
  "$here/../docker/ensure-packages.sh" mmdebstrap debian-archive-keyring
  # What a build that was cut short has left.
  rm -rf --one-file-system "$built".*
  began=$(date +%s)
  say "building it from Debian packages (about a minute)"
  "$here/build.sh" "$built"
  say "built in $(($(date +%s) - began)) s"
}

import() {
  docker import --change 'ENTRYPOINT ["/usr/lib/cdp-sim/init"]' --change 'ENV container=docker' \
    "$built/root.tar" "$image" >/dev/null ||
    die "the Docker engine did not take the simulated machine's image: is it running, and is there space?"
}

# Machines that run keep their image.
remove_older() {
  docker image ls --format '{{.Repository}}:{{.Tag}}' "$IMAGE" | grep -vxF "$image" | while read -r older; do
    docker image rm "$older" >/dev/null 2>&1 || :
  done
}

[ $# -eq 0 ] || die "it takes no argument: the Docker engine is named by DOCKER_HOST"
command -v dpkg >/dev/null || die "the machine is built from Debian packages, and here is no dpkg: use Debian or Ubuntu"
mkdir -p "$cache"
exec 7>"$cache/machine.lock"
flock -n 7 || {
  say "waiting for another build to end"
  flock 7
}
hash=$(recipe_hash)
built=$cache/machine-$hash
image=$IMAGE:$hash
build
touch "$built"
find "$cache" -maxdepth 1 -name 'machine-*' -mtime "+$UNUSED_DAYS" -exec rm -rf '{}' +
docker version >/dev/null 2>&1 || die "no Docker engine answers on ${DOCKER_HOST:-the default socket}: start it first"
docker image inspect "$image" >/dev/null 2>&1 || {
  import
  remove_older
}
echo "$image"
