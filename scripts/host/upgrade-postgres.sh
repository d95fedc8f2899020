#!/bin/sh
# upgrade-postgres.sh: PostgreSQL's data become those of the next major version; the former ones stay as they were, as the way back.
#
#   rehearse IMAGE        upgrade a copy beside the running platform and throw it away: does it work, how long does it take?
#   switch IMAGE --yes    back up, stop PostgreSQL, upgrade into a new folder, keep the former data as data/postgres-MAJOR; then
#                         `pulumi up` with that image brings PostgreSQL up again
#   finish                after that `up`: statistics of all tables, a base backup
#   back IMAGE --yes      the former data again, for `pulumi up` with their image; those since are kept as data/postgres-MAJOR-left
#   drop --yes            remove the former data, and those that were left, with their base backups and WAL
#   settle                take back a switch that was cut off (a process of its own does it, or backup.d/wal.sh within a minute)
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
# shellcheck source=scripts/host/backup.d/dumps.sh
. "$apps/backup.d/dumps.sh"
# shellcheck source=scripts/host/backup.d/exchange.sh
. "$apps/backup.d/exchange.sh"
data=$srv/data/postgres
# The data to be; and a folder with a copy of the former ones, which pg_upgrade turns into them by links.
fresh_name=.postgres-upgrade
fresh=$srv/data/$fresh_name work=$srv/data/.postgres-upgrade-work
exchanging=$srv/data/.postgres-exchange stopped=$srv/data/.postgres-upgrade-stopped
client=postgres-upgrade-client server=postgres-upgrade

usage() {
  sed -n '4,11s/^#   //p' "$0" >&2
  exit 2
}

# --- Taking back ---

clean_up() {
  docker rm --force --volumes "$client" "$server" >/dev/null 2>&1 || :
  if [ -e "$exchanging" ]; then
    : >"$stopped"
    for container in postgres-db postgres-wal; do docker stop --time 120 "$container" >/dev/null 2>&1 || :; done
    # What Docker has made in the place of a folder that was away.
    rmdir "$data" "$backups/base" "$backups/wal" 2>/dev/null || :
    take_back postgres
  fi
  if [ -e "$stopped" ]; then
    for container in postgres-db postgres-wal; do docker start "$container" >/dev/null 2>&1 || :; done
    docker exec pgbouncer sh -c 'kill -USR2 1' >/dev/null 2>&1 || :
    rm -f "$stopped"
  fi
  rm -rf "$fresh" "$work" "${backups:?}/$fresh_name"
}

# --- The upgrade of a folder ---

# Sets image, from and to.
read_versions() { # IMAGE
  image=$1
  from=$(cat "$data/PG_VERSION" 2>/dev/null) || fail "there are no data of PostgreSQL in $data; run pulumi up first"
  to=$(version_in "$image" postgres)
  to=${to%%.*}
  [ -n "$to" ] || fail "image $image holds no PostgreSQL; look at images.json"
}

require_step() {
  [ "$to" -gt "$from" ] || fail "the data are of PostgreSQL $from and $image is $to: that is no step upwards; put a newer one into images.json"
}

new_folder() { # PATH
  mkdir -m 0700 "$1"
  chown 999:999 "$1"
}

# The new image lacks the old programs, and may lack libraries that they need.
bring_programs() {
  # shellcheck disable=SC2016 # for the shell in the container
  in_client --volume "$work:/work" --entrypoint sh "$POSTGRES_IMAGE" -c '
    set -e
    cp -a "/usr/lib/postgresql/$0" /work/programs
    cp -a "/usr/share/postgresql/$0" /work/share
    mkdir /work/libraries
    ldd "/usr/lib/postgresql/$0"/bin/postgres "/usr/lib/postgresql/$0"/lib/[!l]*.so 2>/dev/null |
      sed -n "s/.* => \(\/[^ ]*\) .*/\1/p" | sort -u | while read -r file; do cp -L "$file" /work/libraries/; done' "$from" 7>&- ||
    fail "the programs of PostgreSQL $from could not be copied out of $POSTGRES_IMAGE"
}

# From $work/old, a copy that was stopped cleanly, to $fresh.
upgrade() {
  start "$POSTGRES_IMAGE" "$work/old"
  # Options of columns that only this build of the server knows (Debian's 17.12 marks each column by one, which its own pg_dump
  # leaves out and no other server takes).
  in_each_database <<'SQL' || fail "the copy of the data could not be prepared (the lines above say why)"
UPDATE pg_attribute SET attoptions = nullif(ARRAY(SELECT option FROM unnest(attoptions) AS option WHERE option ~ '^n_distinct(_inherited)?='), '{}')
  WHERE EXISTS (SELECT FROM unnest(attoptions) AS option WHERE option !~ '^n_distinct(_inherited)?=');
SQL
  stop
  bring_programs
  new_folder "$work/new"
  # The same way that init-postgres.sh has taken.
  read -r provider locale 2>/dev/null <"$srv/data/postgres.locale" || provider=builtin locale=C.UTF-8
  # shellcheck disable=SC2016 # for the shell in the container
  in_client --tmpfs /tmp --volume "$work:/work" --volume "$work/programs:/usr/lib/postgresql/$from:ro" \
    --volume "$work/share:/usr/share/postgresql/$from:ro" --volume "$srv/config/postgres:/etc/postgresql:ro" --entrypoint bash "$image" -c '
    set -e
    from=$1 provider=$2 locale=$3 checksums=$4
    cd /work
    initdb --pgdata=/work/new --username=platform_admin --encoding=UTF8 --locale=C.UTF-8 $checksums --auth-local=peer \
      --auth-host=scram-sha-256 "--locale-provider=$provider" "--$provider-locale=$locale" >/dev/null
    # Only what this image has not: its own programs need its own.
    mkdir /tmp/libraries
    known=$(/sbin/ldconfig -p)
    for file in /work/libraries/*; do
      case $known in *"	${file##*/} ("*) ;; *) ln -s "$file" /tmp/libraries/ ;; esac
    done
    export LD_LIBRARY_PATH=/tmp/libraries
    options="-c hba_file=/etc/postgresql/pg_hba.conf -c ident_file=/etc/postgresql/pg_ident.conf -c jit=off"
    pg_upgrade --link --old-bindir="/usr/lib/postgresql/$from/bin" --new-bindir="$(dirname "$(readlink -f "$(command -v postgres)")")" \
      --old-datadir=/work/old --new-datadir=/work/new --username=platform_admin --socketdir=/tmp --jobs="$(nproc)" \
      --old-options="$options" --new-options="$options" >/work/said 2>&1 || {
      tail -n 20 /work/said
      find /work/new/pg_upgrade_output.d -name "*.txt" -exec head -n 20 "{}" +
      find /work/new/pg_upgrade_output.d -name "pg_upgrade_dump*.log" -exec grep -h -A 3 "error:" "{}" +
      exit 1
    } >&2' bash "$from" "$provider" "$locale" "$(checksums)" 7>&- || fail "pg_upgrade failed (the lines above say why)"
  mv -T "$work/new" "$fresh"
}

# initdb's word for them: both clusters have them, or none.
checksums() {
  case $(in_client --volume "$work/old:/old:ro" --entrypoint pg_controldata "$POSTGRES_IMAGE" /old | sed -n 's/^Data page checksum version: *//p') in
    0) if [ "$to" -ge 18 ]; then echo --no-data-checksums; fi ;;
    *) echo --data-checksums ;;
  esac
}

ask() { # DATABASE; SQL is standard input
  docker exec --interactive "$server" psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
    --username=platform_admin --dbname="$1" --file=-
}

start() { # IMAGE DATA
  # As much memory as postgres-db has.
  limits=$(docker container inspect --format '--memory={{.HostConfig.Memory}} --shm-size={{.HostConfig.ShmSize}}' postgres-db 2>/dev/null) || limits=
  # shellcheck disable=SC2086 # two words
  docker run --detach --name "$server" --network none --user 999:999 --cap-drop ALL $limits \
    --security-opt no-new-privileges:true --security-opt label=disable --stop-signal SIGINT \
    --volume "$2:/data" --volume "$srv/config/postgres:/etc/postgresql:ro" --tmpfs /var/run/postgresql:mode=1777 \
    --entrypoint postgres "$1" -D /data -c config_file=/etc/postgresql/postgresql.conf -c listen_addresses= >/dev/null
  until docker exec "$server" pg_isready --quiet 2>/dev/null; do
    [ "$(docker container inspect --format '{{.State.Running}}' "$server")" = true ] ||
      fail "PostgreSQL does not start: $(docker logs "$server" 2>&1 | grep -E 'FATAL|PANIC' | tail -n 1)"
    sleep 0.3
  done
}

stop() {
  docker stop --time 120 "$server" >/dev/null
  docker rm --volumes "$server" >/dev/null
}

# The SQL of standard input, each time in another database.
in_each_database() {
  sql=$(cat)
  found=$(
    ask postgres <<'SQL'
SELECT translate(encode(convert_to(datname, 'UTF8'), 'base64'), E'\n', '') FROM pg_database WHERE datallowconn;
SQL
  )
  for database in $found; do
    database=$(echo "$database" | base64 --decode)
    printf 'SET client_min_messages = warning;\n%s\n' "$sql" |
      ask "dbname='$(printf '%s' "$database" | sed "s/[\\\\']/\\\\&/g")'" || return 1
  done
}

# It starts with the platform's configuration, where nobody can reach it yet, and gets what pg_upgrade does not bring along.
prove() {
  start "$image" "$fresh"
  # What holds WAL back for postgres-wal.
  ask postgres <<'SQL' >/dev/null
SELECT pg_create_physical_replication_slot('postgres_wal', true);
SQL
  in_each_database <<'SQL' || fail "an extension could not be brought up to date (the lines above say why)"
SELECT format('ALTER EXTENSION %I UPDATE', extname) FROM pg_extension JOIN pg_available_extensions ON name = extname
  WHERE default_version <> installed_version \gexec
SQL
  # pg_upgrade brings statistics along from 18 on, but not all kinds.
  missing=
  [ "$to" -lt 18 ] || missing=--missing-stats-only
  # shellcheck disable=SC2086 # nothing, or one word
  docker exec "$server" vacuumdb --username=platform_admin --all --analyze-in-stages $missing --quiet >/dev/null 7>&- ||
    fail "the statistics of the upgraded databases could not be made"
  stop
}

# --- What one can do ---

rehearse() {
  need_space "$srv/data" $(($(du -sb "$data" | cut -f 1) + 1073741824)) "a rehearsal"
  # shellcheck disable=SC2317,SC2329 # by trap
  clean_up_rehearsal() {
    status=$?
    trap - EXIT
    docker rm --force --volumes "$client" "$server" >/dev/null 2>&1 || :
    rm -rf "$fresh" "$work"
    exit "$status"
  }
  trap clean_up_rehearsal EXIT
  trap 'exit 130' HUP INT TERM
  rm -rf "$fresh" "$work"
  new_folder "$work"
  new_folder "$work/old"
  in_client --volume "$srv/run/postgresql:/var/run/postgresql" --volume "$work/old:/copy" --entrypoint pg_basebackup "$POSTGRES_IMAGE" \
    --pgdata=/copy --checkpoint=fast --wal-method=stream --no-password --dbname='host=/var/run/postgresql user=platform_backup' ||
    fail "the running data could not be copied (the lines above say why)"
  begun=$(date +%s)
  upgrade
  prove
  say "the rehearsal went well: from PostgreSQL $from to $to in $(($(date +%s) - begun)) s; a switch has PostgreSQL stopped for so long, and for a copy of the data"
}

# Docker's own check looks only every few seconds; this one is for clients of the pooler, who wait. By a signal, which needs none of
# the files that `up` is writing meanwhile.
resume_when_it_answers() {
  # shellcheck disable=SC2016 # for the shell of the other process
  setsid sh -c 'for _ in $(seq 240); do
      if docker exec postgres-db pg_isready --quiet --host=127.0.0.1 2>/dev/null; then break; fi
      sleep 0.5
    done
    docker exec pgbouncer sh -c "kill -USR2 1"' </dev/null >/dev/null 2>&1 4>&- 5>&- 6>&- 7>&- 9>&- &
}

# Nobody works on base backups and WAL meanwhile.
hold_backups() {
  exec 4>"$locks/base" 5>"$locks/pitr" 6>"$locks/wal"
  { flock --timeout 60 4 && flock --timeout 60 5 && flock --timeout 60 6; } ||
    fail "a base backup, a recovery or wal.sh is running (locks in $locks); wait until it has ended"
}

stop_postgres() {
  # This one before the receiver, which gets the last of its WAL.
  for container in postgres-db postgres-wal; do
    if docker container inspect "$container" >/dev/null 2>&1; then docker stop --time 120 "$container" >/dev/null; fi
  done
}

# From here on the next `pulumi up` starts what fits the data; a new receiver and new base backups begin with it.
taken_over() {
  trap '' HUP INT TERM
  rm -f "$backups/state/base" "$backups/state/base.good" "$stopped"
  settled postgres
  resume_when_it_answers
}

switch() {
  require_step
  [ ! -e "$srv/data/postgres-$from" ] ||
    fail "$srv/data/postgres-$from is there from an upgrade before; when nobody needs it: sudo $0 drop --yes"
  docker container inspect postgres-db postgres-wal >/dev/null 2>&1 || fail "containers postgres-db and postgres-wal are missing; run pulumi up first"
  need_space "$srv/data" "$(copy_bytes "$data")" "the upgraded copy"
  "$apps/backup.sh" 9>&- || fail "nothing was changed: the backup before the upgrade failed (the lines above say why)"
  only_one
  hold_backups
  protect
  echo CHECKPOINT | psql_in postgres
  # From here on clients may be held back.
  : >"$stopped"
  # So that no transaction is cut off; how long clients wait in the end, query_wait_timeout says.
  if [ "$(docker container inspect --format '{{.State.Running}}' pgbouncer 2>/dev/null)" = true ]; then
    "$apps/pooler.sh" pause || fail "nothing was changed: PgBouncer's clients could not be held back (the line above says why)"
  fi
  begun=$(date +%s)
  stop_postgres
  rm -rf "$fresh" "$work"
  new_folder "$work"
  cp -a --reflink=auto "$data" "$work/old"
  upgrade
  prove
  mkdir "$backups/$fresh_name"
  mkdir "$backups/$fresh_name/base" "$backups/$fresh_name/wal"
  chown 999:999 "$backups/$fresh_name/base" "$backups/$fresh_name/wal"
  if command -v restorecon >/dev/null; then restorecon -R "$fresh" "$backups/$fresh_name"; fi
  exchange postgres "postgres-$from" "$fresh_name"
  taken_over
  say "the data are of PostgreSQL $to since $(($(date +%s) - begun)) s without service; now run pulumi up, which starts it"
  echo "the data of PostgreSQL $from are in $srv/data/postgres-$from: make upgrade-postgres ARGS='back --yes' goes back to them, ARGS='drop --yes' removes them"
}

back() {
  [ "$to" != "$from" ] || fail "the data are of PostgreSQL $from and so is $image; put the former version's image back into images.json, then say this again"
  [ -f "$srv/data/postgres-$to/PG_VERSION" ] || fail "there are no data of PostgreSQL $to ($srv/data/postgres-$to) to go back to"
  [ ! -e "$srv/data/postgres-$from-left" ] || fail "$srv/data/postgres-$from-left is there already; when nobody needs it, remove it"
  only_one
  hold_backups
  protect
  : >"$stopped"
  "$apps/pooler.sh" pause >/dev/null 2>&1 || :
  stop_postgres
  exchange postgres "postgres-$from-left" "postgres-$to"
  taken_over
  say "the data are those of PostgreSQL $to again, as they were before the upgrade; now run pulumi up, which starts it"
  echo "what was written since is in $srv/data/postgres-$from-left, and in the dumps of $dumps"
}

begin() { # IMAGE
  lock upgrade-postgres
  settle PostgreSQL
  read_versions "$1"
}

case $#,${1:-},${3:-} in
  1,--clean-up,) settle PostgreSQL ;;
  1,settle,)
    lock upgrade-postgres
    only_one
    settle PostgreSQL
    ;;
  1,finish,)
    lock upgrade-postgres
    docker exec postgres-db vacuumdb --username=platform_admin --all --analyze-only --quiet 9>&-
    "$apps/backup.d/base.sh" full 9>&-
    ;;
  2,rehearse,)
    begin "$2"
    require_step
    rehearse
    ;;
  3,switch,--yes)
    begin "$2"
    switch
    ;;
  3,back,--yes)
    begin "$2"
    back
    ;;
  2,drop,)
    [ "$2" = --yes ] || usage
    lock upgrade-postgres
    settle PostgreSQL
    drop postgres
    ;;
  2,switch, | 2,back,) fail "PostgreSQL would be stopped, and nothing was begun: say $1 IMAGE --yes" ;;
  *) usage ;;
esac
