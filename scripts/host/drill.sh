#!/bin/sh
# drill.sh: restore what is newest off-site (where there is no off-site store, here), check it, measure: first the dumps, then the
# base backup with all WAL that followed it.
#
# All of it is in backups/.drill and in containers of its own, which have no network and a limit of memory, and which a label
# names as a drill's. Nothing here asks, changes or stops a container of the platform. What a killed drill has left, the next
# one removes. The report is backups/drills/DRILL.json and DRILL.md, the newest also as latest; the exit code is 1 where a check
# has failed.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
# shellcheck source=scripts/host/backup.d/dumps.sh
. "$apps/backup.d/dumps.sh"
# shellcheck source=scripts/host/backup.d/recovery.sh
. "$apps/backup.d/recovery.sh"
REPORTS=52
READY_SECONDS=120
work=$backups/.drill
reports=$backups/drills
mark=central-data-platform.drill=$srv
client='base-drill-client'
[ $# -eq 0 ] || fail "drill.sh takes no arguments; run: sudo $0"

containers_away() {
  docker ps --all --quiet --filter "label=$mark" | xargs -r docker rm --force --volumes >/dev/null 2>&1 || :
}

clean_up() {
  containers_away
  rm -rf "$work"
}

lock drill
clean_up
mkdir "$work"
: >"$work/checks"
: >"$work/facts"
drill=$(date -u +%Y%m%dT%H%M%SZ)
started=$(date +%s)
reason=''

fail() {
  reason=$1
  exit 1
}

finish() {
  trap - EXIT
  trap '' HUP INT TERM
  [ -z "$reason" ] || check drill fail "$reason"
  report || say "the report could not be written to $reports; is the disk full?" >&2
  clean_up
  [ "${result:-fail}" = ok ]
  exit
}
trap finish EXIT
trap 'reason="it was ended by a signal"; exit 1' HUP INT TERM

# --- The report ---

check() { # NAME ok|warn|fail DETAIL
  printf '%s\t%s\t%s\n' "$1" "$2" "$(printf '%s' "$3" | tr '\n\t' '  ')" >>"$work/checks"
}

# What a part has found out, for the report; it is a process of its own.
note() { # KEY VALUE
  echo "$1=$2" >>"$work/facts"
}

fact() { # KEY, and what there is without it
  found=$(sed -n "s/^$1=//p" "$work/facts" | tail -n 1)
  echo "${found:-$2}"
}

moment() { # UNIX SECONDS
  date -u -d "@$1" +%Y-%m-%dT%H:%M:%SZ
}

# Of the dumps, and of the base backup with its WAL.
results() {
  dumps_result=ok wal_result=$(fact wal_result ok)
  if [ "$(fact rto null)" = null ] || grep -v '^base ' "$work/checks" | cut -f 2 | grep -qx fail; then dumps_result=fail; fi
  if [ "$wal_result" = ok ]; then
    if [ "$(fact wal_rto null)" = null ] || grep '^base ' "$work/checks" | cut -f 2 | grep -qx fail; then wal_result=fail; fi
  fi
  result=ok
  if [ $dumps_result = fail ] || [ "$wal_result" = fail ]; then result=fail; fi
}

as_json() {
  printf '{\n  "schema": 1, "started": "%s", "finished": "%s", "source": "%s", "run": "%s",\n  "rto_seconds": %s, "rpo_seconds": %s, "result": "%s",\n' \
    "$(moment "$started")" "$(moment "$finished")" "$source" "$(fact run '')" "$(fact rto null)" "$(fact rpo null)" "$result"
  printf '  "point_in_time": {"base": "%s", "rto_seconds": %s, "rpo_seconds": %s, "result": "%s"},\n  "checks": [' \
    "$(fact base '')" "$(fact wal_rto null)" "$(fact wal_rpo null)" "$wal_result"
  separator=
  while IFS=$tab read -r name state detail; do
    printf '%s\n    {"name": "%s", "state": "%s", "detail": "%s"}' "$separator" "$(json_text "$name")" "$state" "$(json_text "$detail")"
    separator=,
  done <"$work/checks"
  printf '\n  ]\n}\n'
}

as_page() {
  cat <<PAGE
# Restore drill $drill: $result

From $(moment "$started") to $(moment "$finished"), of what is $source.

## Dumps: $dumps_result

- Run: $(fact run none)
- Restored and checked $(fact rto null) s after the start (RTO)
- Newest row: $(fact rpo null) s old at the start (RPO)

## Base backup and WAL: $wal_result

- Base backup: $(fact base none)
- Restored, recovered and checked $(fact wal_rto null) s after the start of this part (RTO)
- Newest commit: $(fact wal_rpo null) s old at the start of this part (RPO)

## Checks

| check | state | detail |
|---|---|---|
PAGE
  sed 's/|/\\|/g; s/\t/ | /g; s/^/| /; s/$/ |/' "$work/checks"
}

summary() {
  if [ "$result" = fail ]; then
    echo "$(fact run '' | sed "s/..*/$source run &: /")$(awk -F '\t' '$2 == "fail" { print $1 ": " $3; exit }' "$work/checks")"
    return
  fi
  echo "$source run $(fact run '') restored and checked in $(fact rto '') s (RTO), its newest row was $(fact rpo '') s old (RPO);" \
    "$(if [ "$wal_result" = ok ]; then
      echo "base backup $(fact base '') with its WAL in $(fact wal_rto '') s, its newest commit was $(fact wal_rpo '') s old"
    else
      echo "there is no base backup $source yet"
    fi)"
}

report() {
  finished=$(date +%s)
  results
  mkdir -p "$reports"
  as_json >"$reports/.new.json"
  as_page >"$reports/.new.md"
  for kind in json md; do
    sync "$reports/.new.$kind"
    cp "$reports/.new.$kind" "$reports/.latest.$kind"
    mv -f "$reports/.new.$kind" "$reports/$drill.$kind"
    mv -f "$reports/.latest.$kind" "$reports/latest.$kind"
    for old in "$reports"/????????T??????Z."$kind"; do echo "$old"; done | sort -r | tail -n +$((REPORTS + 1)) | while IFS= read -r old; do rm -f "$old"; done
  done
  said=$(summary)
  record drill "$result" "$said"
  say "drill $result: $said; $reports/$drill.md"
}

# --- The dumps ---

fetch() {
  if [ -n "$OFFSITE" ]; then
    # It keeps our lock open: while it fetches, no other drill begins.
    if ! "$apps/offsite.sh" restore dumps "$work/run" >"$work/said" 2>"$work/errors"; then
      check fetch fail "$(tail -n 1 "$work/errors")"
      return 1
    fi
    run=$(basename "$(tail -n 1 "$work/said")")
  else
    run=$(newest_with manifest.json)
    [ -n "$run" ] || {
      check fetch fail "there is no run in $dumps; run sudo $apps/backup.sh"
      return 1
    }
    # Second names of the same files: retention may remove the run meanwhile.
    mkdir "$work/run"
    cp -al "$dumps/$run" "$work/run/"
  fi
  note run "$run"
  folder=$work/run/$run
  check fetch ok "$source run $run, $(du --human-readable --summarize "$folder" | cut -f 1), fetched in $(seconds_since "$began") s"
  for file in manifest.json databases.tsv globals.sql; do
    grep -q "^[0-9a-f]* [ *]$file\$" "$folder/SHA256SUMS" || {
      check sums fail "SHA256SUMS of run $run does not name $file"
      return 1
    }
  done
  if ! (cd "$folder" && sha256sum --check --quiet --strict SHA256SUMS) >"$work/said" 2>&1; then
    check sums fail "$(head -n 1 "$work/said")"
    return 1
  fi
  check sums ok "$(wc -l <"$folder/SHA256SUMS") files have the sums of SHA256SUMS"
  left_out=$(sed -n 's/^  "failed": \[\(.*\)\],$/\1/p' "$folder/manifest.json")
  [ -z "$left_out" ] || check complete fail "the backup is without $left_out"
}

# --- PostgreSQL ---

container() { # NAME UID FOLDER DOCKER'S FURTHER ARGUMENTS, IMAGE AND COMMAND
  name=$1 user=$2 data=$3
  shift 3
  # Production comes first: little memory, and a small share of the processors where they are short.
  docker run --name "$name" --label "$mark" --network none --user "$user" --cap-drop ALL --security-opt no-new-privileges:true \
    --memory "${DRILL_MEMORY:-1g}" --memory-swap "${DRILL_MEMORY:-1g}" --cpu-shares 256 --shm-size 256m --volume "$data" "$@" \
    >"$work/said" 2>"$work/errors" 9>&-
}

last_words() {
  grep -v -e '^$' -e '^WARNING: ' "$work/errors" | tail -n 1
}

start_postgres() {
  need_space "$work" "$(sed -n 's/^  "server_bytes": \([0-9]*\),$/\1/p' "$folder/manifest.json" | awk '{ printf "%.0f", 2147483648 + $1 * 1.3 }')" "the drill"
  mkdir "$work/postgres"
  chown 999:999 "$work/postgres"
  container postgres-drill 999:999 "$work/postgres:/var/lib/postgresql/data" --rm "$POSTGRES_IMAGE" \
    initdb --pgdata=/var/lib/postgresql/data --username=platform_admin --encoding=UTF8 --locale=C.UTF-8 --data-checksums ||
    fail "initdb failed: $(last_words)"
  let_in "$work/postgres"
  container postgres-drill 999:999 "$work/postgres:/var/lib/postgresql/data" --volume "$folder:/run/backup:ro" --detach --entrypoint postgres "$POSTGRES_IMAGE" \
    -D /var/lib/postgresql/data -c listen_addresses= -c max_wal_size=1GB -c wal_level=minimal -c max_wal_senders=0 -c autovacuum=off \
    -c maintenance_work_mem=128MB -c max_locks_per_transaction=256 || fail "container postgres-drill does not start: $(last_words)"
  waiting=$(date +%s)
  until in_drill pg_isready --quiet; do
    [ "$(seconds_since "$waiting")" -lt $READY_SECONDS ] ||
      fail "PostgreSQL is not ready within $READY_SECONDS s: $(docker logs --tail 1 postgres-drill 2>&1)"
    sleep 0.2
  done
}

# Who is in the container may be every role; others have no way in.
let_in() { # FOLDER
  echo 'local all all peer map=drill' >"$1/pg_hba.conf"
  echo 'drill /^(root|postgres)$ all' >"$1/pg_ident.conf"
}

# As root, which may read the files of the backup; the server's own user may not.
in_drill() { # COMMAND
  docker exec --interactive --user 0:0 --env PGOPTIONS="${options:--c role=none -c default_transaction_read_only=off -c statement_timeout=0 -c client_min_messages=warning}" \
    "$container" "$@" 9>&-
}

psql_as() { # ROLE DATABASE; SQL is standard input
  in_drill psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username="$1" \
    --dbname="dbname='$(printf '%s' "$2" | sed "s/[\\\\']/\\\\&/g")'" --file=-
}

first_error() {
  grep -m 1 -i 'error' "$work/errors" || tail -n 1 "$work/errors"
}

restore_globals() {
  in_drill psql --no-psqlrc --quiet --username=platform_admin --dbname=template1 --file=- <"$folder/globals.sql" >/dev/null 2>"$work/errors" || :
  wrong=$(grep -v 'role "platform_admin" already exists' "$work/errors" | grep -m 1 ERROR) || wrong=
  if [ -n "$wrong" ]; then check globals fail "$wrong"; else check globals ok "roles and their settings are restored"; fi
}

restore_database() { # FILE NAME
  since=$(date +%s)
  # As an empty host would: with the settings, rights and locale of the database; `postgres` is there already and goes first.
  if ! in_drill pg_restore --username=platform_admin --dbname=template1 --create --clean --if-exists --jobs=2 "/run/backup/$1.dump" \
    </dev/null >/dev/null 2>"$work/errors"; then
    check "restore $2" fail "$(first_error)"
    return 1
  fi
  check "restore $2" ok "$(du --human-readable "$folder/$1.dump" | cut -f 1) restored in $(seconds_since "$since") s"
}

# Every table has as many rows as were counted under the snapshot of its dump.
count_rows() { # FILE NAME
  options='-c search_path=pg_catalog,pg_temp -c role=none -c statement_timeout=0'
  { printf '%s\n' "$COUNTING" | psql_as platform_admin "$2" 2>"$work/errors" || touch "$work/uncounted"; } | counted >"$work/rows"
  options=
  # A table that was written anew while it was dumped was not counted then, and is not compared.
  wrong=$(awk -F '\t' '
      NR == FNR { wanted[$1] = $2; next }
      { found[$1] }
      $1 in wanted && wanted[$1] != $2 { print $1 " has " $2 " rows, in the backup it had " wanted[$1] }
      END { for (name in wanted) if (!(name in found)) print name " is missing" }' "$folder/$1.rows.tsv" "$work/rows" | head -n 3)
  if [ -e "$work/uncounted" ]; then
    rm "$work/uncounted"
    check "rows $2" fail "$(first_error)"
  elif [ -z "$wrong" ]; then
    check "rows $2" ok "$(awk -F '\t' '$1 !~ /^pg_catalog[.]/ { rows += $2; tables++ } END { printf "%d tables, %.0f rows, as in the backup", tables, rows }' "$folder/$1.rows.tsv")"
  else
    check "rows $2" fail "$wrong"
  fi
}

restore_databases() {
  while IFS=$tab read -r file _; do
    # The stroke keeps a line end that the name may end with.
    name=$(decoded "$file" && echo /)
    if restore_database "$file" "${name%/}"; then count_rows "$file" "${name%/}"; fi
  done <"$folder/databases.tsv"
}

amcheck() { # CHECK
  if in_drill pg_amcheck --username=platform_admin --maintenance-db=template1 --all --install-missing --heapallindexed --jobs=2 \
    </dev/null >"$work/said" 2>"$work/errors"; then
    check "$1" ok "tables and B-tree indexes of every database are in order, and every row is in its indexes"
  else
    check "$1" fail "$(sed 's/^ *//' "$work/said" "$work/errors" | grep . | head -n 2)"
  fi
}

# The moment of the newest row that every backup writes first.
newest_probe() {
  echo "SELECT extract(epoch FROM max(at))::bigint FROM platform.probe" | psql_as platform_admin postgres 2>"$work/errors" || :
}

# How much would be lost: how old at a moment the newest is that there is.
judge_age() { # CHECK FACT WHAT UNIX-SECONDS MOMENT WHAT-THAT-IS
  rpo=$(($5 - $4))
  note "$2" $rpo
  detail="$3 is of $(moment "$4"), $rpo s before $6"
  if [ $rpo -lt -60 ]; then
    check "$1" warn "$detail: it lies ahead of the clock"
  elif [ $rpo -gt $((BACKUP_MAX_AGE_HOURS * 3600)) ]; then
    check "$1" warn "$detail: more than $BACKUP_MAX_AGE_HOURS h"
  else
    check "$1" ok "$detail"
  fi
}

probe() {
  newest=$(newest_probe)
  if [ -n "$newest" ]; then
    judge_age probe rpo "the newest row of platform.probe" "$newest" "$started" "this drill"
  else
    check probe fail "the copy has no row in platform.probe, which every backup writes first: $(first_error)"
  fi
}

# What an application says must be true, asked by its own login. What the answer was stays here: a report goes far.
ask() {
  [ -s "$srv/config/backup/drill-queries.tsv" ] || return 0
  number=0
  while IFS=$tab read -r application database sql; do
    number=$((number + 1)) name="query $number of $application"
    login=$(
      psql_as platform_admin template1 <<SQL 2>/dev/null
SELECT rolname FROM pg_roles WHERE rolcanlogin AND shobj_description(oid, 'pg_authid') = 'central-data-platform application $application' LIMIT 1;
SQL
    ) || login=
    if [ -z "$login" ]; then
      check "$name" fail "the copy has no login of application $application"
      continue
    fi
    options='-c default_transaction_read_only=on -c statement_timeout=120s'
    code=0
    printf '%s' "$sql" | base64 -d | psql_as "$login" "$database" >"$work/answer" 2>"$work/errors" || code=$?
    options=
    if [ $code -ne 0 ]; then
      check "$name" fail "$(first_error)"
    elif [ "$(cat "$work/answer")" = t ]; then
      check "$name" ok "true, as $login in $database"
    else
      check "$name" fail "it did not answer with one row that says true, as $login in $database"
    fi
  done <"$srv/config/backup/drill-queries.tsv"
}

# --- Redis ---

redis() {
  wanted=$(sed -n 's/^  "redis": {.*"keys": \([0-9]*\).*/\1/p' "$folder/manifest.json")
  if [ -z "$wanted" ] || [ ! -f "$folder/redis.rdb" ]; then
    check redis fail "the backup has no dump of Redis"
    return
  fi
  mkdir "$work/redis"
  cp "$folder/redis.rdb" "$work/redis/dump.rdb"
  chown -R 999:999 "$work/redis"
  if ! container redis-drill 999:999 "$work/redis:/data" --detach --entrypoint redis-server "$REDIS_IMAGE" \
    --dir /data --dbfilename dump.rdb --save '' --appendonly no --port 0 --unixsocket /tmp/redis.sock; then
    check redis fail "container redis-drill does not start: $(last_words)"
    return
  fi
  # While it loads, it answers with an error.
  until info=$(docker exec redis-drill redis-cli -s /tmp/redis.sock INFO persistence 2>/dev/null 9>&- | tr -d '\r') &&
    printf '%s\n' "$info" | grep -qx 'loading:0'; do
    if [ "$(docker container inspect --format '{{.State.Running}}' redis-drill 2>/dev/null)" != true ]; then
      check redis fail "it does not load the dump: $(docker logs --tail 1 redis-drill 2>&1)"
      return
    fi
    sleep 0.2
  done
  # Those whose time has passed since count as well: they were in the dump.
  loaded=$(printf '%s\n' "$info" | awk -F : '/^rdb_last_load_keys_(loaded|expired):/ { keys += $2 } END { print keys + 0 }')
  if [ "$loaded" = "$wanted" ]; then
    check redis ok "$loaded keys are loaded, as in the backup"
  else
    check redis fail "$loaded keys are loaded, in the backup there were $wanted"
  fi
}

restore_dumps() {
  container=postgres-drill
  fetch || return 0
  start_postgres
  restore_globals
  restore_databases
  amcheck amcheck
  probe
  ask
  redis
  note rto "$(seconds_since "$began")"
}

# --- The base backup and its WAL ---

# Sets from; fails where there is nothing to try, which is said.
fetch_base() {
  from=$work/recovery
  mkdir "$from"
  if [ -n "$OFFSITE" ]; then
    # Of this cluster, where the store has others as well.
    cluster=$(sed "s/^/$STACK-/" "$backups/state/cluster" 2>/dev/null) || cluster=
    "$apps/offsite.sh" restore newest "$from" ${cluster:+"$cluster"} >"$work/said" 2>"$work/errors" || {
      said=$(tail -n 1 "$work/errors")
      case $said in
        'there is no base backup of '* | 'there is no cluster '* | 'there is no repository in '*) nothing_yet "$said" ;;
        *) check "base fetch" fail "$said" ;;
      esac
      return 1
    }
  else
    bases=$backups/base
    base=$(ids | tail -n 1)
    [ -n "$base" ] || {
      nothing_yet "there is no base backup in $bases yet; run sudo $apps/backup.sh"
      return 1
    }
    link_base || {
      check "base fetch" fail "base backup $base and its WAL cannot be had: $(tail -n 1 "$work/errors")"
      return 1
    }
  fi
  bases=$from/base
  base=$(ids | tail -n 1)
  note base "$base"
  check "base fetch" ok "$source base backup $base ($(value "$base" KIND)) and WAL, $(du --human-readable --summarize "$from" | cut -f 1), fetched in $(seconds_since "$began") s"
}

nothing_yet() { # SENTENCE
  note wal_result none
  check "base fetch" warn "$1"
}

# Second names of the same files: retention may remove them meanwhile. What goes while names are given is no reason to end.
link_base() {
  parts=$(chain "$base") || {
    echo "it builds on one that is missing" >"$work/errors"
    return 1
  }
  for _ in 1 2 3; do
    rm -rf "${from:?}"/*
    mkdir "$from/base"
    if (for id in $parts; do cp -al "$bases/$id" "$from/base/" || exit 1; done && cp -al "$backups/wal" "$from/") 2>"$work/errors"; then return; fi
  done
  return 1
}

# Called by recovery.sh's start.
run_copy() { # POSTGRES-ARGUMENT...
  # An own configuration: that of the platform is made for all of the machine's memory.
  mkdir "$work/config"
  : >"$work/config/postgresql.conf"
  let_in "$work/config"
  chmod -R a+rX "$work/config"
  container "$container" 999:999 "$copy:/var/lib/postgresql/data" --volume "$work/config:/run/config:ro" --volume "$from/wal:/wal:ro" \
    --detach --entrypoint postgres "$POSTGRES_IMAGE" -D /var/lib/postgresql/data -c config_file=/run/config/postgresql.conf \
    -c hba_file=/run/config/pg_hba.conf -c ident_file=/run/config/pg_ident.conf -c shared_preload_libraries= -c shared_buffers=128MB \
    -c max_wal_size=1GB -c autovacuum=off "$@" || fail "container $container does not start: $(last_words)"
}

# A commit is newer than the probe, or there was none since the base backup.
newest_commit() {
  newest=$(newest_probe)
  [ -n "$newest" ] || {
    check "base probe" fail "the copy has no row in platform.probe, which every backup writes first: $(first_error)"
    return
  }
  commit=$(ask_copy "SELECT extract(epoch FROM pg_last_xact_replay_timestamp())::bigint")
  [ "${commit:-0}" -lt "$newest" ] || newest=$commit
  judge_age "base probe" wal_rpo "the newest commit" "$newest" "$began" "this part of the drill"
}

restore_base() {
  container='base-drill' copy=$work/base new=$work/.base.new
  kind=latest wanted='' marked='' target=latest
  fetch_base || return 0
  lineage=$(newest_timeline)
  choose
  check_wal
  combine
  start
  wait_for_target
  check "base recovery" ok "base backup $base and $(echo "$segments" | wc -l) segments of WAL, to the end of timeline $lineage, in $(seconds_since "$began") s"
  amcheck "base amcheck"
  newest_commit
  note wal_rto "$(seconds_since "$began")"
}

# --- The drill ---

# Each is a process of its own: what ends one of them does not end the other, and is said under its name.
part() { # CHECK FUNCTION
  set +e
  (
    set -e
    began=$(date +%s)
    part=$1
    # shellcheck disable=SC2329 # by what is called
    fail() { # SENTENCE
      check "$part" fail "$1"
      exit 1
    }
    "$2"
  )
  code=$?
  set -e
  [ $code = 0 ] || cut -f 2 "$work/checks" | grep -qx fail || check "$1" fail "it ended half-way (what was said is in the journal)"
}

source=local
[ -z "$OFFSITE" ] || source=off-site
part drill restore_dumps
# Its room is needed.
containers_away
rm -rf "$work/run" "$work/postgres" "$work/redis"
part "base recovery" restore_base
