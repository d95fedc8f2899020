#!/bin/sh
# hold-clients.sh HASH PAUSE_SECONDS WHEN_BUSY: PgBouncer's clients wait while PostgreSQL's container is replaced.
#
# Nothing is done where there is nobody to hold back, or where the container is already the one whose compose hash is HASH. It fails
# where PostgreSQL could not start with its new configuration. Where more is replaced than PostgreSQL, the network, both containers may
# be taken away at any moment of this script: that is no failure either.
# Else it ends when no transaction runs through PgBouncer any more. Where that is not within PAUSE_SECONDS, WHEN_BUSY says what
# then: refuse (clients go on, and the exit code is 1) or cut (PostgreSQL's stop ends what still runs).
# A process of its own lets them go on when the new server answers; and, whatever became of the one who wanted to replace it, when
# the old one is still there a while later, or after a minute.
set -eu
hash=$1 seconds=$2 busy=$3
label=com.docker.compose.config-hash

running() { # CONTAINER
  [ "$(docker container inspect --format '{{.State.Running}}' "$1" 2>/dev/null)" = true ]
}
both_running() { running postgres-db && running pgbouncer; }
# Within three seconds: what is in a container ends a moment before Docker says that it does not run.
gone() {
  tries=0
  while both_running; do
    tries=$((tries + 1))
    [ "$tries" -le 15 ] || return 1
    sleep 0.2
  done
}
# Not by docker run of a client: this takes a tenth of the time. Not `docker kill` either: pgbouncer-running.sh says why.
tell_pooler() { # SIGNAL: USR1 pauses, USR2 resumes
  docker exec pgbouncer sh -c "kill -$1 1"
}
ask() { # SQL
  docker exec postgres-db psql --no-psqlrc --quiet --tuples-only --no-align --username=platform_admin --dbname=postgres --command "$1"
}

running postgres-db || exit 0
[ "$(docker container inspect --format "{{index .Config.Labels \"$label\"}}" postgres-db)" != "$hash" ] || exit 0
# The new server would not start with it; the running one goes on with what it has read.
if ! said=$(docker exec --user postgres postgres-db postgres -C data_directory -c config_file=/etc/postgresql/postgresql.conf 2>&1); then
  fault=$(printf '%s\n' "$said" | sed -n 's/^.*LOG:  //p' | head -n 1)
  [ -n "$fault" ] || ! gone || exit 0
  echo "PostgreSQL was not replaced, and goes on: it refuses its new configuration (${fault:-$said}); correct central-data-platform:postgres.parameters, then run up again" >&2
  exit 1
fi
running pgbouncer || exit 0
# Most of what the last checkpoint has to write, while clients go on.
ask CHECKPOINT >/dev/null || exit 0
pooler=$(docker container inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' pgbouncer) || exit 0
old=$(docker container inspect --format '{{.Id}} {{.State.StartedAt}} {{.State.Running}}' postgres-db) || exit 0

holding=$(mktemp)
# shellcheck disable=SC2016 # for the shell of the other process
setsid sh -c '
  old=$1 holding=$2 idle=$3
  state() { docker container inspect --format "{{.Id}} {{.State.StartedAt}} {{.State.Running}}" postgres-db 2>/dev/null; }
  answers() { docker exec postgres-db pg_isready --quiet --host=127.0.0.1 2>/dev/null; }
  began=$(date +%s) waited=0
  while [ "$waited" -lt 60 ]; do
    sleep 0.2
    # Whoever holds them back has let them go on.
    [ -e "$holding" ] || exit 0
    waited=$(($(date +%s) - began))
    if [ "$(state)" != "$old" ] || [ "$waited" -ge "$idle" ]; then
      if answers; then break; fi
    fi
  done
  docker exec pgbouncer sh -c "kill -USR2 1"
  rm -f "$holding"
' hold-clients "$old" "$holding" "$((seconds + 15))" </dev/null >/dev/null 2>&1 &

let_go() {
  rm -f "$holding"
  tell_pooler USR2
}
trap 'let_go; exit 130' HUP INT TERM
# PgBouncer closes each connection to PostgreSQL as its transaction ends.
# Over the socket it has no address; there the platform's own roles are somebody else's, and no role of PgBouncer's.
through="FROM pg_stat_activity WHERE client_addr = '$pooler'
  OR client_addr IS NULL AND backend_type = 'client backend' AND usename NOT IN ('platform_admin', 'platform_backup', 'platform_restore')"
if ! said=$(tell_pooler USR1 2>&1); then
  rm -f "$holding"
  ! gone || exit 0
  echo "PostgreSQL was not replaced, and clients went on: PgBouncer cannot be told to hold them back: $said; see docker logs pgbouncer, then run up again" >&2
  exit 1
fi
end=$(($(date +%s) + seconds))
until [ "$(ask "SELECT count(*) $through" 2>/dev/null)" = 0 ]; do
  # Who is still held back goes on when the next server answers, by the process above.
  both_running || exit 0
  if [ "$(date +%s)" -ge "$end" ]; then
    [ "$busy" = refuse ] || exit 0
    who=$(ask "SELECT format('%s in database %s, for %s s, pid %s', usename, datname, extract(epoch FROM now() - xact_start)::int, pid) $through ORDER BY xact_start LIMIT 1") || who=
    let_go
    echo "PostgreSQL was not replaced, and clients went on: a transaction through PgBouncer did not end within $seconds s (${who:-it has ended since}); wait for it or end it (SELECT pg_terminate_backend(PID) as platform_admin), then run up again, or set central-data-platform:pgbouncer.whenBusy to cut" >&2
    exit 1
  fi
  sleep 0.1
done
