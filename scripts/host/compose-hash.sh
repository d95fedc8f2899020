#!/bin/sh
# compose-hash.sh SERVICE: print the hash by which docker compose knows the service of the compose file on standard input.
set -eu
hash=$(docker compose --file - config --hash "$1" | awk -v service="$1" '$1 == service { print $2 }')
[ -n "$hash" ] || {
  echo "docker compose gave no hash for $1; is 'docker compose version' 2.20 or newer?" >&2
  exit 1
}
printf '%s' "$hash"
