#!/bin/sh
# redis-acl.sh: bring the access list of the running Redis to the commands of standard input.
# The output is looked at, since redis-cli exits with 0 whatever the server says; it shows no password and no hash.
set -eu
answers=$(docker exec --interactive redis-cache redis-cli)
wrong=$(printf '%s\n' "$answers" | grep -vx -e OK -e '' || true)
if [ -n "$wrong" ]; then
  printf 'Redis refused a change of its access list: %s\nIts file is in order: after a new saltKey, restart it with: docker restart redis-cache\n' "$wrong" >&2
  exit 1
fi
