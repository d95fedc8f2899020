#!/bin/sh
# pitr.sh: PostgreSQL as it was at a moment of the last days, beside the running one first, then in its place.
#
#   list                                  what one can go back to
#   prepare TARGET [--from FOLDER] [--timeline N]
#                                         restore into data/postgres-pitr, run as container postgres-pitr without a network.
#                                         TARGET: latest, 'YYYY-MM-DD HH:MM:SS[+TZ]', xid:N, name:POINT or lsn:X/Y
#                                         FOLDER holds base/ and wal/ (backups unless said); N is a timeline left behind
#   swap --yes                            the prepared copy becomes postgres-db; the data until now are kept beside it
#   drop                                  remove the prepared copy
#   settle                                take back a swap that was cut off (backup.d/wal.sh does it within a minute)
#   point NAME                            mark this moment, for prepare name:NAME
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
# shellcheck source=scripts/host/backup.d/recovery.sh
. "$apps/backup.d/recovery.sh"
copy=$srv/data/postgres-pitr
new=$srv/data/.postgres-pitr.new
socket=$srv/run/postgresql-pitr
container=postgres-pitr
from=$backups
bases=$from/base
client=postgres-pitr-client
lineage=

usage() {
  sed -n '4,12s/^#   //p' "$0" >&2
  exit 2
}

# --- prepare ---

# Sets kind, wanted (as PostgreSQL is told), and second for a time.
read_target() {
  kind=${1%%:*} wanted=${1#*:}
  case $1 in
    latest) wanted='' ;;
    xid:*) case $wanted in '' | *[!0-9]*) fail "'$1' is no target; write xid: and a number, as pg_current_xact_id() gives it" ;; esac ;;
    lsn:*) printf '%s\n' "$wanted" | grep -Eq '^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$' || fail "'$1' is no target; write lsn: and X/Y, as pg_current_wal_lsn() gives it" ;;
    name:*) right_name "$wanted" ;;
    *)
      kind='time'
      printf '%s\n' "$1" | grep -Eq '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?( ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?))?$' ||
        fail "'$1' is no target; write latest, 'YYYY-MM-DD HH:MM:SS[+TZ]', xid:N, name:POINT or lsn:X/Y"
      # Without a zone, the one of PostgreSQL's log.
      zone=$(sed -n "s/^timezone = '\(.*\)'$/\1/p" "$srv/config/postgres/postgresql.conf")
      wanted=$(TZ=${zone:-UTC} date -d "$1" '+%s.%6N' 2>/dev/null) || fail "'$1' is no time that a clock shows; correct it"
      second=${wanted%.*}
      wanted=$(date -u -d "@$wanted" '+%Y-%m-%d %H:%M:%S.%6N')
      [ "$second" -le "$(date +%s)" ] || fail "$wanted+00 is in the future; choose a moment that has been, or: $0 prepare latest"
      ;;
  esac
}

right_name() {
  case $1 in '' | *[!A-Za-z0-9_.-]*) fail "'$1' is no name of a point; write letters, digits, _ . -" ;; esac
  [ "${#1}" -le 63 ] || fail "'$1' is too long for the name of a point; 63 characters are the most"
}

# Called by recovery.sh's start. As much memory as postgres-db has.
run_copy() { # POSTGRES-ARGUMENT...
  limits=$(docker container inspect --format '--memory={{.HostConfig.Memory}} --shm-size={{.HostConfig.ShmSize}}' postgres-db 2>/dev/null) || limits=
  mkdir -p "$socket"
  chown 999:999 "$socket"
  # shellcheck disable=SC2086 # two words
  docker run --detach --name postgres-pitr --network none --user 999:999 --cap-drop ALL $limits \
    --security-opt no-new-privileges:true --security-opt label=disable --stop-signal SIGINT \
    --log-opt max-size=10m --log-opt max-file=5 \
    --env PGDATA=/var/lib/postgresql/data --volume "$copy:/var/lib/postgresql/data" --volume "$srv/config/postgres:/etc/postgresql:ro" \
    --volume "$from/wal:/wal:ro" --volume "$backups/wal:/own:ro" --volume "$socket:/var/run/postgresql" "$POSTGRES_IMAGE" \
    postgres -c config_file=/etc/postgresql/postgresql.conf "$@" >/dev/null
}

undo() {
  docker rm --force --volumes postgres-pitr "$client" >/dev/null 2>&1 || :
  rm -rf "$copy" "$new" "$socket"
}

prepare() {
  target=$1
  read_target "$target"
  shift
  while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
      --from)
        from=$(CDPATH='' cd -- "$2" 2>/dev/null && pwd) || fail "folder $2 is missing; name one that holds base/ and wal/"
        bases=$from/base
        ;;
      --timeline)
        case $2 in '' | *[!0-9]*) fail "'$2' is no timeline; write its number, as pitr.sh list shows it" ;; esac
        lineage=$2
        ;;
      *) usage ;;
    esac
    shift 2
  done
  foreign=$(if [ "$from" != "$backups" ]; then find "$from/wal" "$bases"/*/data ! -user 999 -print -quit 2>/dev/null; fi)
  [ -z "$foreign" ] || fail "$foreign is not PostgreSQL's (uid 999), which has to read it; run: chown -R 999:999 $from/wal $bases/*/data"
  [ ! -e "$copy" ] || fail "a prepared copy is already there (container postgres-pitr, $copy); swap it in, or remove it: sudo $0 drop"
  # What a run that was cut off has left.
  undo
  trap '[ $? = 0 ] || undo' EXIT
  trap 'exit 130' HUP INT TERM
  began=$(date +%s)
  [ -n "$lineage" ] || lineage=$(newest_timeline)
  marked=$(awk -F '\t' -v name="$wanted" '$1 == name { found = $2 } END { print found }' "$from/wal/points.tsv" 2>/dev/null) || marked=''
  choose
  check_wal
  say "restoring $(at_clock "$(value "$base" STARTED)")'s base backup $base and WAL until $target; docker logs -f postgres-pitr shows how far it is"
  combine
  start
  wait_for_target
  # Its slot keeps WAL from here on, so that there is no gap when it is swapped in.
  found=$(ask_copy "SELECT coalesce(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC' || '+00', 'in base backup $base')
      FROM pg_create_physical_replication_slot('postgres_wal', true);
    SELECT format('  %s, %s', datname, pg_size_pretty(pg_database_size(oid))) FROM pg_database WHERE datallowconn ORDER BY 1")
  say "$target is ready in container postgres-pitr after $(seconds_since "$began") s; newest commit: $(echo "$found" | head -n 1)"
  echo "$found" | tail -n +2
  echo "look at it:      docker exec -it postgres-pitr psql -U platform_admin -d DATABASE"
  echo "make it the one: sudo $0 swap --yes"
  echo "remove it:       sudo $0 drop"
}

# --- list, point, drop ---

list() {
  oldest=$(ids | head -n 1)
  [ -n "$oldest" ] || fail "there is no base backup in $bases; make one: sudo $apps/backup.d/base.sh"
  lineage=$(newest_timeline)
  segments=$("$keeper" segments "$from/wal" "$lineage" "$(value "$(ids | tail -n 1)" START_WAL)")
  read -r lsn clock <<FOUND
$(echo "$segments" | grep -v missing | last_commit)
FOUND
  echo "from   $(at_clock "$(value "$oldest" FINISHED)")"
  if [ -n "$lsn" ]; then
    echo "until  $clock+00, the newest commit (lsn:$lsn), on timeline $lineage"
  else
    echo "until  $(at_clock "$(value "$(ids | tail -n 1)" FINISHED)"), the newest base backup, on timeline $lineage"
  fi
  echo "$segments" | sed -n 's/^missing /segment missing since the newest base backup: /p'
  echo "base backups:"
  for id in $(ids | sort -r); do
    echo "  $id  $(value "$id" KIND), ends $(at_clock "$(value "$id" FINISHED)"), timeline $(value "$id" TIMELINE), $(numfmt --to=iec "$(value "$id" BYTES)")"
  done
  [ -s "$from/wal/points.tsv" ] || return 0
  echo "points:"
  awk -F '\t' '{ print "  name:" $1 "  " $3 ", " $2 }' "$from/wal/points.tsv"
}

point() {
  right_name "$1"
  line=$(
    psql_in postgres --set=name="$1" --field-separator="$(printf '\t')" <<'SQL'
SET timezone = 'UTC';
SELECT :'name', pg_create_restore_point(:'name'), to_char(now(), 'YYYY-MM-DD HH24:MI:SS+00');
SQL
  ) || fail "no point was made: postgres-db does not answer (docker logs postgres-db)"
  printf '%s\n' "$line" >>"$backups/wal/points.tsv"
  chown 999:999 "$backups/wal/points.tsv"
  say "point $1 is made; sudo $0 prepare name:$1 goes back to it"
}

drop() {
  [ -e "$copy" ] || [ -e "$new" ] || docker container inspect postgres-pitr >/dev/null 2>&1 || fail "there is no prepared copy"
  undo
  say "the prepared copy is removed"
}

# --- swap ---

# Docker's own check looks only every few seconds, while clients wait.
answers() {
  for _ in $(seq 600); do
    docker exec postgres-db pg_isready --quiet --host=127.0.0.1 2>/dev/null && return
    [ "$(docker container inspect --format '{{.State.Running}}' postgres-db)" = true ] || return 1
    sleep 0.5
  done
  return 1
}

# Until the new one answers, each step is taken back: by this run, or where it was killed by the next one, which finds the name
# of the data until now in this file.
swapping=$srv/data/.postgres-swap

put_back() {
  if [ -e "$swapping" ]; then
    before=$srv/data/$(cat "$swapping")
    docker stop --time 120 postgres-db >/dev/null 2>&1 || :
    # Docker makes a folder that is missing, and leaves it empty.
    rmdir "$srv/data/postgres" 2>/dev/null || :
    [ -e "$copy" ] || [ ! -e "$srv/data/postgres" ] || mv -T "$srv/data/postgres" "$copy"
    [ ! -e "$before" ] || mv -T "$before" "$srv/data/postgres"
    sync "$srv/data"
    rm -f "$swapping"
  fi
  # Without data it would begin with an empty folder.
  [ ! -f "$srv/data/postgres/PG_VERSION" ] || docker start postgres-db postgres-wal >/dev/null || :
  docker start postgres-pitr >/dev/null 2>&1 || :
  "$apps/pooler.sh" resume >/dev/null 2>&1 || :
}

settle() {
  [ -e "$swapping" ] || return 0
  put_back
  say "a swap was cut off: PostgreSQL's data are those that it had before it, and the prepared copy is still there"
}

swap() {
  [ "$(ask_copy 'SELECT NOT pg_is_in_recovery()' 2>/dev/null)" = t ] ||
    fail "there is no prepared copy that answers; make one: sudo $0 prepare TARGET (or, if it was stopped: docker start postgres-pitr)"
  docker container inspect postgres-db postgres-wal >/dev/null 2>&1 || fail "containers postgres-db and postgres-wal are missing; run pulumi up first, then this again"
  only_one
  # A clock that was set back may say a time twice.
  while before=$srv/data/postgres-before-$(date -u +%Y%m%dT%H%M%SZ) && [ -e "$before" ]; do sleep 1; done
  trap put_back EXIT
  trap 'exit 130' HUP INT TERM
  # Now, so that it takes less while clients wait.
  echo CHECKPOINT | psql_in postgres 2>/dev/null || say "postgres-db does not answer; its data are kept as they are"
  docker stop --time 120 postgres-pitr >/dev/null
  if [ "$(docker container inspect --format '{{.State.Running}}' pgbouncer 2>/dev/null)" = true ]; then
    "$apps/pooler.sh" pause || fail "nothing was changed: PgBouncer's clients could not be held back (the line above says why)"
  fi
  echo "${before##*/}" >"$swapping.new"
  sync "$swapping.new"
  mv "$swapping.new" "$swapping"
  sync "$srv/data"
  # This one before the receiver, which gets the last of its WAL.
  docker stop --time 120 postgres-db >/dev/null
  docker stop --time 30 postgres-wal >/dev/null
  rmdir "$srv/data/postgres" 2>/dev/null || :
  [ ! -e "$srv/data/postgres" ] || mv -T "$srv/data/postgres" "$before"
  mv -T "$copy" "$srv/data/postgres"
  sync "$srv/data"
  docker start postgres-db >/dev/null
  answers || fail "PostgreSQL does not start with the prepared copy (docker logs postgres-db), so the data until now are back"
  rm "$swapping"
  sync "$srv/data"
  trap - EXIT HUP INT TERM
  "$apps/pooler.sh" resume >/dev/null 2>&1 || [ "$(docker container inspect --format '{{.State.Running}}' pgbouncer 2>/dev/null)" != true ] ||
    say "PgBouncer still holds clients back; run: sudo $apps/pooler.sh resume"
  # The next recovery must give its timeline another number, even if the receiver never came to fetch this.
  cp -p "$srv"/data/postgres/pg_wal/*.history "$backups/wal/"
  exec 7>&-
  # It would go on with the timeline that was left.
  "$keeper" anew || say "WAL is not received yet; run: sudo $keeper anew"
  docker rm --volumes postgres-pitr >/dev/null
  rm -rf "$socket"
  say "the prepared copy is postgres-db now"
  [ ! -e "$before" ] || echo "the data until now are in $before; remove them when nobody needs them"
  echo "roles and passwords are those of that moment; bring them up to date: pulumi up --refresh"
  "$apps/backup.d/base.sh" full
}

case $#${1:-} in
  1list) list ;;
  2point) point "$2" ;;
  1drop)
    lock pitr
    settle
    drop
    ;;
  1settle)
    lock pitr
    settle
    ;;
  2swap)
    [ "$2" = --yes ] || usage
    lock pitr
    settle
    swap
    ;;
  1swap) fail "this puts the prepared copy in the place of the running data; say so: sudo $0 swap --yes" ;;
  [2-9]prepare)
    lock pitr
    settle
    shift
    prepare "$@"
    ;;
  *) usage ;;
esac
