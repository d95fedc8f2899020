#!/bin/sh
# backup.sh [--dumps]: dump every database and Redis to /srv/backups/dumps/RUN, then make the base backup and send all of it
# off-site. With --dumps that is all.
#
# A run has its name only when it is whole, checked and on the disk. A database that cannot be dumped does not stop the others:
# the run is without it, and the exit code is 1. It also removes the runs that no KEEP_ setting keeps.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
# shellcheck source=scripts/host/backup.d/dumps.sh
. "$apps/backup.d/dumps.sh"
# How long a table may be locked by somebody else.
lock_wait=${LOCK_WAIT_SECONDS:-300}
client=dump

clean_up() { # RUN
  # A container outlives the process that started it.
  docker rm --force "$client" >/dev/null 2>&1 || :
  end_sessions "backup $1"
  rm -rf "$dumps/.$1.new"
}

case $#,${1:-} in
  0,) ;;
  1,--dumps) only_dumps=yes ;;
  2,--clean-up)
    killed=no
    [ ! -e "$dumps/.$2.new" ] || killed=yes
    clean_up "$2"
    [ "$killed" = no ] || record dumps fail "the run $2 was killed half-way"
    exit
    ;;
  *) fail "usage: sudo $0 [--dumps]" ;;
esac

lock backup
only_one
while [ -e "$dumps/$now" ]; do
  sleep 1
  now=$(date -u +%Y%m%dT%H%M%SZ)
done
run=$now new=$dumps/.$now.new work=$dumps/.$now.new/.work
begun=$(date +%s) ended=no reason='' failed='' count=0

# Without a good dump they are worth all the more; one that fails does not stop the other.
base_and_off_site() {
  [ "${only_dumps:-no}" = no ] || return 0
  after=0
  if [ -f "$apps/backup.d/base.sh" ]; then sh "$apps/backup.d/base.sh" || after=1; fi
  if [ -n "${OFFSITE:-}" ] && [ -f "$apps/offsite.sh" ]; then sh "$apps/offsite.sh" push || after=1; fi
  return $after
}

# Why nothing came of it is said once, in the end.
fail() {
  reason=$1
  exit 1
}

# shellcheck disable=SC2329 # by trap
finish() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  clean_up "$run"
  unguard
  if [ "$status" -ne 0 ]; then
    record dumps fail "${reason:=it ended half-way}"
    say "backup failed: $reason" >&2
    exec 7>&-
    [ "$ended" = yes ] || base_and_off_site || :
  fi
  exit "$status"
}
trap finish EXIT
trap 'reason="it was ended by a signal" ended=yes; exit 1' HUP INT TERM
guard "$run"

# --- What there is ---

# A name as a file's (NAME in databases.tsv), its size, the name in JSON. A copy that restore.sh is filling is none of them.
databases() {
  psql_in postgres --field-separator="$tab" <<'SQL'
SELECT (SELECT string_agg(CASE WHEN chr(byte) ~ '[A-Za-z0-9_-]' COLLATE "C" AND byte < 128 THEN chr(byte) ELSE '%' || lpad(upper(to_hex(byte)), 2, '0') END, '' ORDER BY place)
    FROM (SELECT place, get_byte(textsend(datname::text), place) AS byte FROM generate_series(0, octet_length(datname::text) - 1) AS place) AS bytes),
  pg_database_size(oid), to_json(datname::text)
FROM pg_database WHERE NOT datistemplate AND datallowconn AND datconnlimit <> -2 AND datname !~ '_restore_\d{8}T\d{6}Z$' ORDER BY datname;
SQL
}

# As much as the last run took for each byte in the server, and a fifth more; without a last run, as much as there is.
needed_bytes() { # BYTES IN THE SERVER
  last=$(newest_with manifest.json)
  before=0 took=0
  if [ -n "$last" ]; then
    before=$(sed -n 's/^  "server_bytes": \([0-9]*\),$/\1/p' "$dumps/$last/manifest.json")
    took=$(du --bytes --summarize "$dumps/$last" | cut -f 1)
  fi
  awk -v now="$1" -v before="${before:-0}" -v took="$took" 'BEGIN { printf "%.0f", 67108864 + (before > 0 ? now * took / before * 1.2 : now) }'
}

# By this row somebody who restores sees how old what he has is.
write_probe() {
  psql_in postgres <<'SQL'
SET lock_timeout = '60s';
CREATE SCHEMA IF NOT EXISTS platform;
CREATE TABLE IF NOT EXISTS platform.probe (at timestamptz PRIMARY KEY);
INSERT INTO platform.probe VALUES (clock_timestamp());
DELETE FROM platform.probe WHERE at < (SELECT at FROM platform.probe ORDER BY at DESC OFFSET 999 LIMIT 1);
SQL
}

# --- One database ---

# As in the manual: the client's standard output is the file, on the host.
in_postgres() { # DATABASE AS A FILE'S NAME, PROGRAM AND ITS ARGUMENTS
  connection="postgresql://platform_admin@/$1?application_name=backup%20$run"
  shift
  (cd "$apps/postgres-stack" && exec docker compose --env-file ../../config/platform.env exec -T postgres-db "$@" --dbname="$connection") \
    </dev/null 7>&- 9>&-
}

# Into the file itself, from a container that has the server's socket: through `docker exec` it takes half as long again (make bench),
# and a file in which pg_dump can go back tells a restore in parallel where each table is. Root, as the folder's owner.
pg_dump_to() { # DATABASE AS A FILE'S NAME, FURTHER ARGUMENTS
  file=$1
  shift
  in_client --user 0:0 --volume "$srv/run/postgresql:/var/run/postgresql" --volume "$new:/dump" --entrypoint pg_dump "$POSTGRES_IMAGE" \
    --format=custom --compress=zstd --no-sync --file="/dump/$file.dump" "$@" \
    --dbname="postgresql://platform_admin@/$file?application_name=backup%20$run" </dev/null 7>&- 9>&-
}

# What a session does that keeps the snapshot, as long as its standard input is open.
snapshot_sql() {
  cat <<SQL
SET application_name = 'backup $run';
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot();
SQL
}

# Tables that were emptied or written anew between the snapshot and pg_dump's lock: it finds nothing in them.
CHANGED="SELECT count(*) FROM $USER_TABLES AND relfilenode IS DISTINCT FROM pg_relation_filenode(pg_class.oid);"

# Rows are counted while they are dumped, but not before pg_dump has its locks, which is when its first bytes come: who comes
# between the two, and wants a table for himself, would wait for the session, and pg_dump for him.
dump_database() { # FILE first|second|last
  database=$(decoded "$1" && echo /)
  rm -rf "$work" "$new/$1.dump"
  { mkdir "$work" && mkfifo "$work/questions" "$work/answers"; } || fail "nothing can be written in $new; is the disk full?"
  { snapshot_sql && exec cat "$work/questions"; } 7>&- 9>&- | psql_in "${database%/}" >"$work/answers" 2>>"$work/errors" 7>&- 9>&- &
  session=$!
  # Both ways, so as not to wait for a reader who has failed already.
  exec 4<"$work/answers" 3<>"$work/questions"
  good=no
  if read -r snapshot <&4; then
    : >"$new/$1.dump"
    pg_dump_to "$1" --snapshot="$snapshot" --lock-wait-timeout="${lock_wait}s" 2>>"$work/errors" 3>&- 4<&- &
    dumping=$!
    while [ ! -s "$new/$1.dump" ] && kill -0 "$dumping" 2>/dev/null; do sleep 0.1; done
    changed=
    # Without a byte pg_dump has failed.
    if [ -s "$new/$1.dump" ]; then
      echo "$CHANGED" >&3
      read -r changed <&4 || :
    fi
    if [ "$changed" = 0 ] || { [ -n "$changed" ] && [ "$2" = last ]; }; then
      echo "$COUNTING" >&3
      # By exec: for a function, sh would keep them open under other numbers, and the session would never see an end.
      (exec 3>&- 7>&- 9>&- && counted) <&4 >"$new/$1.rows.tsv" 2>>"$work/errors" &
      counting=$!
      if wait "$dumping"; then good=yes; fi
      exec 3>&-
      wait "$session" || good=no
      wait "$counting" || good=no
    fi
  fi
  exec 3>&- 4<&-
  if [ $good = no ]; then
    end_sessions "backup $run"
    wait "$session" || :
    [ -z "${dumping:-}" ] || wait "$dumping" || :
    dumping=
    return 1
  fi
  check_dump "$1"
}

check_dump() { # FILE
  docker exec --interactive postgres-db pg_restore --list <"$new/$1.dump" 2>>"$work/errors" >"$work/list" && [ -s "$work/list" ]
}

# In words: what the programs have said last, and what it means.
why() {
  said=$(grep -m 1 -i -e 'error' -e 'no space' "$work/errors" || tail -n 1 "$work/errors")
  case $said in
    *'statement timeout'*)
      echo "one of its tables is locked by somebody for more than $lock_wait s; find who by: SELECT pid, usename, query FROM pg_stat_activity WHERE state <> 'idle'"
      ;;
    *) echo "${said:-nothing was said; look at docker logs postgres-db}" ;;
  esac
}

# Again: a table that is dropped or emptied at the wrong moment is not so the next time.
save_database() { # FILE SIZE NAME IN JSON
  since=$(date +%s%3N)
  for try in first second last; do
    ! dump_database "$1" $try || break
    ! no_space || fail "the disk of $backups is full; make room or shorten how long backups are kept"
    because=$(why)
    if [ $try = last ] || lock_timed_out; then
      rm -f "$new/$1.dump" "$new/$1.rows.tsv"
      say "database $(decoded "$1") was not dumped: $because" >&2
      failed="$failed${failed:+, }$3"
      return
    fi
  done
  bytes=$(stat -c %s "$new/$1.dump")
  seconds=$(awk -v from="$since" -v to="$(date +%s%3N)" 'BEGIN { printf "%.1f", (to - from) / 1000 }')
  printf '%s\t%s\t%s\t%s\n' "$1" "$bytes" "$seconds" "$2" >>"$new/databases.tsv"
  count=$((count + 1))
  found="$found${found:+,
}$(printf '    {"name": %s, "file": "%s.dump", "bytes": %s, "seconds": %s, %s}' "$3" "$1" "$bytes" "$seconds" \
    "$(awk -F '\t' '$1 !~ /^pg_catalog[.]/ { tables++; rows += $2 } END { printf "\"tables\": %d, \"rows\": %.0f", tables, rows }' "$new/$1.rows.tsv")")"
}

# pg_dump waits for its locks by this means.
lock_timed_out() {
  grep -q 'statement timeout' "$work/errors"
}

no_space() {
  [ "$(free_bytes "$new")" -lt 1048576 ] || grep -qi 'no space left' "$work/errors"
}

# --- Redis ---

# Sets $redis, the manifest's part.
save_redis() {
  tries=0
  until answer=$(echo BGSAVE | redis_do) && [ "$answer" = 'Background saving started' ]; do
    tries=$((tries + 1))
    case $answer in *'already in progress'* | *'Another child'*) [ $tries -lt 600 ] || return ;; *) return 1 ;; esac
    sleep 1
  done
  while :; do
    answer=$(echo 'INFO persistence' | redis_do)
    case $answer in
      *rdb_bgsave_in_progress:1*) sleep 1 ;;
      *rdb_last_bgsave_status:ok*) break ;;
      *)
        answer="its snapshot failed; look at docker logs redis-cache"
        return 1
        ;;
    esac
  done
  cp "$srv/data/redis/dump.rdb" "$new/redis.rdb" || return
  if ! keys=$(rdb_keys "$new/redis.rdb"); then
    answer="redis-check-rdb finds its copy damaged"
    return 1
  fi
  redis="{\"file\": \"redis.rdb\", \"bytes\": $(stat -c %s "$new/redis.rdb"), \"keys\": ${keys% *}, \"expires\": ${keys#* }}"
  record redis ok "${keys% *} keys in $run"
}

# --- The run ---

image_of() {
  docker container inspect --format '{{.Config.Image}}' "$1" 2>/dev/null || echo none
}

manifest() {
  cat <<JSON
{
  "schema": 1,
  "run": "$run",
  "started": "$(date -u -d "@$begun" +%Y-%m-%dT%H:%M:%SZ)",
  "finished": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "seconds": $(seconds_since "$begun"),
  "versions": {"postgres": $(echo "SELECT to_json(current_setting('server_version'));" | psql_in postgres), "redis": "$(echo 'INFO server' | redis_do | sed -n 's/^redis_version://p')"},
  "images": {"postgres-db": "$(image_of postgres-db)", "redis-cache": "$(image_of redis-cache)"},
  "server_bytes": $server_bytes,
  "databases": [
$found
  ],
  "failed": [$failed],
  "redis": $redis
}
JSON
}

# The newest run of each database that there still is stays, and the newest of Redis, however old.
remove_old() {
  kept=$run
  while read -r file _; do kept="$kept $(newest_with "$file.dump")"; done <<LIST
$list
LIST
  kept="$kept $(newest_with redis.rdb)"
  for old in $(outdated "$kept"); do
    # Under its name it is there as a whole or not at all.
    mv "$dumps/$old" "$dumps/.$old.old.new"
    rm -rf "$dumps/.$old.old.new"
  done
}

mkdir -p "$dumps"
# Nobody else is at work: this is what killed runs have left.
rm -rf "$dumps"/.*.new
mkdir "$new"
require_postgres
write_probe || fail "the probe row could not be written to postgres-db; look at docker logs postgres-db"
list=$(databases) || fail "postgres-db does not say which databases there are; look at docker logs postgres-db"
server_bytes=$(printf '%s\n' "$list" | awk -F '\t' '{ sum += $2 } END { printf "%.0f", sum }')
# What is no longer kept goes first, and may be the room that is needed.
remove_old
need_space "$dumps" "$(needed_bytes "$server_bytes")" "this backup"

in_postgres postgres pg_dumpall --globals-only >"$new/globals.sql" || fail "roles and settings (globals.sql) could not be dumped; look at docker logs postgres-db"
found='' redis=null
while IFS=$tab read -r file size name; do
  save_database "$file" "$size" "$name"
done <<LIST
$list
LIST
[ $count -gt 0 ] || fail "no database could be dumped"
if ! save_redis; then
  rm -f "$new/redis.rdb"
  answer=${answer:-redis-cache does not answer}
  record redis fail "$answer"
  say "Redis was not saved: $answer" >&2
fi
rm -rf "$work"
manifest >"$new/manifest.json"
(cd "$new" && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS)
sync "$new"/* "$new"
mv "$new" "$dumps/$run"
sync "$dumps"
remove_old
trap - EXIT
trap - HUP INT TERM
unguard
exec 7>&-

summary="$run: $count databases, $(du --human-readable --summarize "$dumps/$run" | cut -f 1) in $(seconds_since "$begun") s"
code=0
if [ -z "$failed" ]; then
  record dumps ok "$summary"
else
  record dumps fail "$summary, without $failed"
fi
[ "$redis" != null ] && [ -z "$failed" ] || code=1
say "dumps $summary${failed:+, without $failed}"

base_and_off_site || code=1
exit $code
