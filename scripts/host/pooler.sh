#!/bin/sh
# pooler.sh pause|resume|reload|show [WHAT...]: PgBouncer's console, for the operator.
#
#   pause   wait until no query runs, then hold clients back; gives up and resumes after POOLER_TIMEOUT seconds (30)
#   resume  let clients go on
#   reload  read the configuration again
#   show    pools, clients, servers, stats, databases, config, ... (pools unless said; gives up after POOLER_TIMEOUT, 10)
#
# It connects as user pgbouncer over the Unix socket with PgBouncer's own uid, which needs no password. The client comes
# from PostgreSQL's image, since PgBouncer's has none.
set -eu
cd "$(dirname "$0")/postgres-stack"
timeout=${POOLER_TIMEOUT:-30}
client=pooler-console-$$

usage() {
  echo "usage: $0 pause|resume|reload|show [pools|clients|servers|stats|databases|config]..." >&2
  exit 2
}

case ${1:-} in
  pause | resume | reload) [ $# -eq 1 ] || usage ;;
  show) for what in "$@"; do case $what in *[!a-z_]*) usage ;; esac done ;;
  *) usage ;;
esac

image=$(docker compose --env-file ../../config/platform.env config --images | grep -m 1 'postgres@') || {
  echo "no PostgreSQL image in $PWD/docker-compose.yml; run pulumi up" >&2
  exit 1
}
socket=$(cd ../../run/pgbouncer && pwd)
[ -S "$socket/.s.PGSQL.6432" ] || {
  echo "PgBouncer's socket $socket/.s.PGSQL.6432 is missing; is the container running? (docker compose ps)" >&2
  exit 1
}

console() { # SECONDS COMMAND...
  patience=$1
  shift
  for command in "$@"; do
    set -- "$@" --command "$command"
    shift
  done
  # A PgBouncer that hangs lets nobody in. KILL in the end: docker hands a milder signal on to psql, which as a container's first process ignores it.
  # Without a label of its own: SELinux lets no container at another's socket.
  timeout --foreground --kill-after=1 "$patience" docker run --rm --name "$client" --network none --user 1001:1001 --cap-drop ALL \
    --security-opt label=disable --env PGCONNECT_TIMEOUT=4 \
    --volume "$socket:/var/run/pgbouncer" --entrypoint psql "$image" \
    --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --host=/var/run/pgbouncer --port=6432 --username=pgbouncer --dbname=pgbouncer \
    "$@"
}
# `timeout` ends the client's process, not its container.
trap 'docker rm --force "$client" >/dev/null 2>&1 || true' EXIT
trap 'exit 130' HUP INT TERM

case $1 in
  pause)
    console "$timeout" PAUSE && exit
    docker rm --force "$client" >/dev/null 2>&1 || true
    console 10 RESUME || true
    echo "a query was still running after $timeout s, so clients were let go on; try again, or set POOLER_TIMEOUT" >&2
    exit 1
    ;;
  resume) console 10 RESUME ;;
  reload) console 10 RELOAD ;;
  show)
    shift
    [ $# -gt 0 ] || set -- pools
    for what in "$@"; do
      set -- "$@" "SHOW $what"
      shift
    done
    console "${POOLER_TIMEOUT:-10}" "$@"
    ;;
esac
