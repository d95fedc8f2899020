#!/bin/sh
# check-data-versions.sh SRV_ROOT POSTGRES_IMAGE REDIS_IMAGE: do the images fit the data that are there?
#
# Refuses PostgreSQL of another major version than its data, and a Redis that is older than what has written its data, or of a newer
# major version: both are ways of their own, with a way back (docs/upgrades.md). Images that are missing are pulled.
set -eu
srv=$1 postgres=$2 redis=$3

fail() {
  echo "$1" >&2
  exit 1
}

version() { # IMAGE PROGRAM
  said=$(docker run --rm --network none --entrypoint "$2" "$1" --version 2>&1) || fail "image $1 does not run: $said"
  printf '%s\n' "$said" | sed -n "s/^\(postgres (PostgreSQL) \|Redis server v=\)\([0-9]*\.[0-9]*\).*/\2/p" | head -n 1
}

if [ -f "$srv/data/postgres/PG_VERSION" ]; then
  there=$(cat "$srv/data/postgres/PG_VERSION")
  new=$(version "$postgres" postgres)
  if [ "${new%%.*}" -gt "$there" ]; then
    fail "nothing was changed: $srv/data/postgres is of PostgreSQL $there and the image is ${new%%.*}; move the data first: make upgrade-postgres ARGS='switch --yes' (docs/upgrades.md), or put an image of $there back into images.json"
  elif [ "${new%%.*}" -lt "$there" ]; then
    fail "nothing was changed: $srv/data/postgres is of PostgreSQL $there and the image is ${new%%.*}, which cannot read it; go back to the data from before the upgrade: make upgrade-postgres ARGS='back --yes' (docs/upgrades.md), or put an image of $there back into images.json"
  fi
fi

# Its file begins with who has written it, after the word redis-ver and a byte for the length.
newest=
for file in "$srv"/data/redis/appendonlydir/*.base.rdb; do
  if [ -f "$file" ] && { [ -z "$newest" ] || [ "$file" -nt "$newest" ]; }; then newest=$file; fi
done
[ -n "$newest" ] || exit 0
there=$(head -c 64 "$newest" | LC_ALL=C tr -c '[:print:]' '\n' | sed -n '/redis-ver$/{n;s/^\([0-9]*\.[0-9]*\).*/\1/p;}')
[ -n "$there" ] || exit 0
new=$(version "$redis" redis-server)
if [ "${new%%.*}" -gt "${there%%.*}" ]; then
  fail "nothing was changed: $srv/data/redis is of Redis $there and the image is $new, after which there is no way back without a copy; let one be made: make upgrade-redis ARGS='switch --yes' (docs/upgrades.md), or put an image of $there back into images.json"
elif [ "$(printf '%s\n%s\n' "$there" "$new" | sort -V | head -n 1)" != "$there" ]; then
  fail "nothing was changed: $srv/data/redis is of Redis $there and the image is $new, which cannot read it; go back to the data from before the upgrade: make upgrade-redis ARGS='back --yes' (docs/upgrades.md), or put an image of $there back into images.json"
fi
