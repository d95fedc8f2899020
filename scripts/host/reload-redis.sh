#!/bin/sh
# reload-redis.sh: bring the running Redis to its access list and its certificate by the commands of standard input.
# Its last line is `end`: without it the sender was cut off, and nothing is done.
# The output is looked at, since redis-cli exits with 0 whatever the server says; it shows no password and no hash.
set -eu

commands=$(cat)
case $commands in
  *"
end") ;;
  *)
    echo "Redis was not changed: its commands were cut off on the way; run up again" >&2
    exit 1
    ;;
esac
answers=$(printf '%s\n' "${commands%end}" | docker exec --interactive redis-cache redis-cli)
wrong=$(printf '%s\n' "$answers" | grep -vx -e OK -e '' || true)
case $wrong in
  '') ;;
  *"CONFIG SET failed"*)
    echo "Redis refused its new certificate and goes on with the old one: $wrong; docker logs redis-cache says why" >&2
    exit 1
    ;;
  *)
    printf 'Redis refused a change of its access list: %s\nIts file is in order: after a new saltKey, restart it with: docker restart redis-cache\n' "$wrong" >&2
    exit 1
    ;;
esac
