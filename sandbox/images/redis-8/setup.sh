#!/bin/sh
# As for the Redis before it: only Debian's packages are newer.
set -eu
exec "$(dirname "$0")/../redis/setup.sh" "$@"
