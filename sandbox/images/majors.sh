#!/bin/sh
# Provides the next major versions of PostgreSQL and Redis, to try an upgrade to them with.
#
#   majors.sh CATALOGUE
#
# They are built and served as provide.sh does it with the platform's own; CATALOGUE has two entries in the form of
# images.json, `postgres-18` and `redis-8`. What was built once is kept in $CDP_CACHE_DIR, else ~/.cache/central-data-platform.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
NAMES="postgres-18 redis-8"

[ $# -eq 1 ] || {
  echo "majors.sh: usage: majors.sh CATALOGUE" >&2
  exit 1
}
exec "$here/more.sh" majors "$1" "$NAMES" "add-user.sh postgres redis"
