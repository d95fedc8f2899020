#!/bin/sh
# base.sh [full]: a base backup into backups/base, where pitr.sh begins; then bases and WAL that no longer count are removed.
#
# An incremental one on the newest where that is of use, else a full one. WAL is not in it: postgres-wal receives that.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/common.sh"
bases=$backups/base
client=base-backup
wal=$backups/wal
keeper=$apps/backup.d/wal.sh
socket=$srv/run/postgresql

case $#${1:-} in 0 | 1full) ;; *)
  echo "usage: $0 [full]" >&2
  exit 2
  ;;
esac
lock base

# Not beside the backup: when that disk is full, somebody has to hear of it.
said=$(mktemp)
# From here on, what ends this run is recorded.
why='it was cut off'
fail() {
  why=$1
  echo "$1" >&2
  exit 1
}
# A container outlives the process that started it.
cleanup() {
  docker rm --force "$client" >/dev/null 2>&1 || :
  rm -rf "$bases"/.*.new "$bases"/.*.old
}
ended() {
  code=$?
  cleanup
  rm -f "$said"
  [ "$code" = 0 ] || record base fail "$why"
}
trap ended EXIT
trap 'exit 130' HUP INT TERM
mkdir -p "$bases"
cleanup

# --- what there is ---

newest_full() {
  found=
  for id in $(ids); do
    if [ "$(value "$id" KIND)" = full ]; then found=$id; fi
  done
  echo "$found"
}

# A clock that was set back must not put a new backup before older ones.
new_id() {
  id=$(date -u +%Y%m%dT%H%M%SZ)
  if [ -n "$newest" ] && ! older "$newest" "$id"; then
    id=$(date -u -d "$(echo "$newest" | sed 's/^\(....\)\(..\)\(..\)T\(..\)\(..\)\(..\)Z$/\1-\2-\3 \4:\5:\6 UTC/') + 1 second" +%Y%m%dT%H%M%SZ)
  fi
  echo "$id"
}

# --- full or incremental ---

# Says why a full one is needed; nothing where an incremental one is enough.
reason() {
  full=$(newest_full)
  age=0
  if [ -n "$full" ]; then age=$(seconds_since "$(value "$full" STARTED)"); fi
  if [ "$asked" = full ]; then
    echo "it was asked for"
  elif [ -z "$full" ]; then
    echo "there is none yet"
  elif [ "$(value "$newest" SYSTEM_ID)" != "$system" ]; then
    echo "the newest one is of another cluster"
  elif [ "$(value "$newest" TIMELINE)" != "$timeline" ]; then
    echo "the newest one is of another timeline"
  elif [ "$age" -ge $((FULL_EVERY_DAYS * 86400)) ] || [ "$age" -lt 0 ]; then
    echo "the last full one was made $((age / 86400)) days ago"
  elif gap=$("$keeper" segments "$wal" "$timeline" "$(value "$newest" START_WAL)" | grep missing); then
    echo "WAL has a gap: $gap"
  fi
}

backup() { # [INCREMENTAL ARGUMENT...]
  rm -rf "$new"
  mkdir -p "$new/data"
  chown 999:999 "$new/data"
  in_client --volume "$socket:/var/run/postgresql" --volume "$new/data:/backup" ${1:+--volume "$bases/$newest/data:/parent:ro"} \
    --entrypoint pg_basebackup "$POSTGRES_IMAGE" --pgdata=/backup --format=plain --wal-method=none --checkpoint=fast --label="$id" \
    --no-password --dbname='host=/var/run/postgresql user=platform_backup' "$@" 2>"$said"
}

# What was wrong; after it pg_basebackup says that it cleans up.
trouble() {
  { grep -m 1 'error: ' "$said" || grep -v '^NOTICE' "$said" | tail -n 1; } | sed 's/^pg_basebackup: error: //'
}

# --- what is no longer needed ---

# A moment needs the newest base before it: all before the newest full one that is older than the window may go.
retention() {
  border=$(($(date +%s) - WINDOW_DAYS * 86400))
  keep_from=
  for id in $(ids); do
    if [ "$(value "$id" KIND)" = full ] && [ "$(value "$id" FINISHED)" -le "$border" ]; then keep_from=$id; fi
  done
  # The newest first: a run that is cut off leaves no incremental one without what it builds on.
  for id in $(ids | sort -r); do
    if [ -n "$keep_from" ] && older "$id" "$keep_from"; then
      mv "$bases/$id" "$bases/.$id.old"
      rm -rf "$bases/.$id.old"
    fi
  done
  # As pg_archivecleanup does it: whatever the timeline, and never a .history.
  first=$(for id in $(ids); do value "$id" START_WAL; done | cut -c 9- | sort | head -n 1)
  for file in "$wal"/* "$wal"/past/*; do
    name=${file##*/}
    name=${name%.gz}
    name=${name%.partial}
    case $name in *[!0-9A-F]*) continue ;; esac
    if [ "${#name}" = 24 ] && older "${name#????????}" "$first"; then rm -f "$file"; fi
  done
}

# What pitr.sh is reading stays until the next time.
tidy() {
  (
    flock --nonblock 8 || exit 0
    retention
  ) 8>"$locks/pitr"
}

# --- the backup ---

asked=${1:-}
newest=$(ids | tail -n 1)
server=$(
  psql_in postgres --field-separator=' ' <<'SQL'
SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,
  (SELECT coalesce(min(wal_status), 'missing') FROM pg_replication_slots WHERE slot_name = 'postgres_wal')
FROM pg_control_system();
SQL
) || fail "no base backup: postgres-db does not answer (docker logs postgres-db)"
read -r system timeline slot <<SERVER
$server
SERVER
case $slot in
  lost | missing)
    "$keeper" anew || fail "no base backup: the slot postgres_wal is $slot and could not be made again"
    asked=full
    say "the slot postgres_wal was $slot and is made again"
    ;;
esac
id=$(new_id)
new=$bases/.$id.new
# Before it needs room. Where the last one is older than all that is kept, the clock may have jumped: then nothing goes.
if [ -z "$newest" ] || [ "$(seconds_since "$(value "$newest" FINISHED)")" -le $((WINDOW_DAYS * 86400)) ]; then
  tidy
else
  say "the last base backup is older than $WINDOW_DAYS days; nothing is removed this time (is the clock right?)"
  tidy() { :; }
fi
# As much as a full one: how large an incremental one becomes, nobody knows before.
need_space "$bases" "$(du -sb --exclude=pg_wal "$srv/data/postgres" 2>/dev/null | cut -f 1)" "a base backup"

started=$(date +%s)
kind=full
because=$(reason)
if [ -z "$because" ]; then
  kind=incremental
  backup --incremental=/parent/backup_manifest || {
    kind=full
    because="PostgreSQL refuses an incremental one ($(trouble))"
  }
fi
if [ "$kind" = full ]; then
  say "a full base backup: $because"
  backup || fail "pg_basebackup failed: $(trouble)"
fi
in_client --volume "$new/data:/backup:ro" --entrypoint pg_verifybackup "$POSTGRES_IMAGE" --quiet --exit-on-error --no-parse-wal /backup ||
  fail "the base backup just made is damaged (pg_verifybackup says so above); nothing was kept"

# It is good only with the WAL that was written meanwhile. A segment has its name as soon as all of it is flushed; the receiver tells
# PostgreSQL so (restart_lsn of the slot) only every ten seconds.
stop=$(sed -n 's/.*"End-LSN": "\([0-9A-F/]*\)".*/\1/p' "$new/data/backup_manifest" | tail -n 1)
last=$(echo "SELECT pg_walfile_name('$stop'::pg_lsn - 1)" | psql_in postgres)
for try in $(seq 300); do
  if [ -f "$wal/$last" ] || [ -f "$wal/$last.gz" ]; then break; fi
  [ "$try" -lt 300 ] || fail "the WAL of the base backup (up to $stop) was not received within a minute; nothing was kept (docker logs postgres-wal)"
  sleep 0.2
done
label=$new/data/backup_label
first=$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p' "$label")
! "$keeper" segments "$wal" "$timeline" "$first" | grep missing ||
  fail "the WAL of the base backup has a gap (the line above names it); nothing was kept, run $keeper anew"
bytes=$(du -sb "$new/data" | cut -f 1)
# FINISHED, LAST_LSN and NEXT_XID: a target after them can begin here.
cat >"$new/info" <<INFO
KIND=$kind
PARENT=$([ "$kind" = full ] || echo "$newest")
START_WAL=$first
LAST_LSN=$stop
NEXT_XID=$(echo "SELECT pg_snapshot_xmax(pg_current_snapshot())" | psql_in postgres)
TIMELINE=$timeline
SYSTEM_ID=$system
ARCHITECTURE=$(architecture)
STARTED=$started
FINISHED=$(date +%s)
BYTES=$bytes
INFO
sync "$new/info" "$new/data" "$new"
mv -T "$new" "$bases/$id"
sync "$bases"

why="base backup $id is made, but what is no longer needed could not be removed"
tidy
detail="$kind $id, $(numfmt --to=iec "$bytes") in $(($(date +%s) - started)) s"
record base ok "$detail"
say "base backup: $detail"
