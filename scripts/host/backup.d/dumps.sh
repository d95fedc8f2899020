# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # $srv and $backups are common.sh's; what is set here is read by the scripts
# What the scripts of the dumps share: backup.sh, restore.sh and restore-redis.sh.
dumps=$backups/dumps
now=$(date -u +%Y%m%dT%H%M%SZ)

# --- One at a time, and nothing left of a run however it ended ---

# kill -9 is seen by no trap. A process in a session of its own waits for the lock, which it gets when this one has ended, and
# then runs `this script --clean-up ARGUMENT...`; meanwhile nobody else begins.
guard() { # ARGUMENT...
  setsid flock "$locks/dumps" sh "$0" --clean-up "$@" </dev/null 7>&- 9>&- &
  guardian=$!
}

unguard() {
  kill "$guardian" 2>/dev/null || :
  wait "$guardian" 2>/dev/null || :
}

# A program in a container outlives the client that has started it; without its session it ends.
end_sessions() { # APPLICATION NAME
  psql_in postgres --set=application="$1" >/dev/null 2>&1 <<'SQL' || :
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = :'application';
SQL
}

require_postgres() {
  [ "$(docker container inspect --format '{{.State.Running}}' postgres-db 2>/dev/null)" = true ] ||
    fail "postgres-db is not running; start it: cd $apps/postgres-stack && sudo docker compose --env-file ../../config/platform.env up -d"
}

# --- Runs ---

# Newest first.
runs() {
  for folder in "$dumps"/????????T??????Z; do
    [ ! -d "$folder" ] || echo "${folder##*/}"
  done | sort -r
}

# The newest that has this file. One from the future, made while the clock was wrong, is taken only where there is no other.
newest_with() { # FILE NAME
  for run in $(runs); do
    [ ! -f "$dumps/$run/$1" ] || echo "$run"
  done | awk -v now="$now" '!first { first = $0 } $0 <= now { first = $0; exit } END { print first }'
}

# A file by RUN, by path, or the newest; sets $folder and $file.
find_file() { # RUN|PATH|latest NAME WHAT
  case $1 in
    latest)
      run=$(newest_with "$2")
      [ -n "$run" ] || fail "no run in $dumps has a dump of $3; look what there is with: sudo sh -c 'ls $dumps/*'"
      ;;
    ????????T??????Z)
      run=$1
      [ -f "$dumps/$run/$2" ] || fail "$dumps/$run has no dump of $3; look which runs have one with: sudo sh -c 'ls $dumps/*/$2'"
      ;;
    *)
      [ -f "$1" ] || fail "'$1' is neither a run in $dumps (such as 20261125T143000Z), nor a file, nor latest"
      run=
      folder=$(CDPATH='' cd -- "$(dirname -- "$1")" && pwd)
      file=$(basename -- "$1")
      return
      ;;
  esac
  folder=$dumps/$run file=$2
}

# Against the sums that were written with the dump; a file from elsewhere need not have any.
check_sum() { # FILE NAME in $folder
  sum=$(FILE=$1 awk '{ name = $0; sub(/^[^ ]+ [ *]/, "", name) } name == ENVIRON["FILE"]' "$folder/SHA256SUMS" 2>/dev/null) || :
  if [ -n "$sum" ]; then
    (cd "$folder" && printf '%s\n' "$sum" | sha256sum --check --status --strict -) ||
      fail "$folder/$1 is damaged: it has not the checksum in SHA256SUMS; take another run"
  elif [ -n "$run" ]; then
    fail "$folder/SHA256SUMS does not name $1, so nobody knows whether it is whole; take another run"
  else
    say "$folder/$1 has no SHA256SUMS beside it: whether it is whole is seen only when it is read"
  fi
}

# The runs on standard input that no rule keeps: the newest of each of the last days, weeks and months that have one, every one
# of the newest day, and those that are named.
superseded() { # DAYS WEEKS MONTHS RUN...
  days=$1 weeks=$2 months=$3
  shift 3
  sort -ru | awk -v days="$days" -v weeks="$weeks" -v months="$months" -v named=" $* " '
    # Days since 1970-01-01 (a Thursday), with years that begin in March.
    function number_of_day(year, month, day) {
      if (month <= 2) { year--; month += 12 }
      return 365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * (month - 3) + 2) / 5) + day - 719469
    }
    # Is this the first that is seen of a period, and of one of the newest `count` periods?
    function first_of(kind, period, count) {
      if ((kind, period) in seen) return 0
      seen[kind, period]
      return ++periods[kind] <= count
    }
    {
      day = number_of_day(substr($0, 1, 4), substr($0, 5, 2) + 0, substr($0, 7, 2))
      if (NR == 1) newest = day
      # Each is asked: a run can be the first of more than one period.
      keep = first_of("day", day, days) + first_of("week", int((day + 3) / 7), weeks) + first_of("month", substr($0, 1, 6), months)
      if (!keep && day != newest && !index(named, " " $0 " ")) print
    }'
}

# The runs here that no rule keeps. Those from the future count by themselves: a clock that was wrong, then or now, takes no place
# from what was made while it was right.
outdated() { # RUN... that stay
  runs | awk -v now="$now" '$0 "" <= now ""' | superseded "$KEEP_DAYS" "$KEEP_WEEKS" "$KEEP_MONTHS" "$@"
  runs | awk -v now="$now" '$0 "" > now ""' | superseded "$KEEP_DAYS" "$KEEP_WEEKS" "$KEEP_MONTHS" "$@"
}

# --- Rows ---

# What belongs to an extension comes with it.
USER_TABLES="pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relkind = 'r' AND relpersistence <> 't'
  AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')"
# For each table its rows, by one narrow column, then a line that begins with the mark and names it; the large objects last. A query
# would let the planner evaluate what an index or a constraint says, a function of the application's, as the superuser: COPY of
# a table plans nothing. What was emptied or written anew since the snapshot has another file and looks empty to it: it gets no
# name. COPY of the name too, so that it holds no tab and no line end of its own.
count_mark=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
COUNTING="
SELECT format('COPY %s %s TO STDOUT', name, narrow),
  format('COPY (SELECT %L || CASE WHEN pg_relation_filenode(%s) IS NOT DISTINCT FROM %s THEN %L ELSE %L END) TO STDOUT',
    '$count_mark ', oid, coalesce(file::text, 'NULL'), name, '')
FROM (
  SELECT format('%I.%I', nspname, relname) COLLATE \"C\" AS name, pg_class.oid, relfilenode AS file,
    (SELECT format('(%I)', attname) FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
      ORDER BY attlen < 0, attlen, attnum LIMIT 1) AS narrow
    FROM $USER_TABLES
  UNION ALL SELECT 'pg_catalog.pg_largeobject_metadata', 'pg_largeobject_metadata'::regclass, pg_relation_filenode('pg_largeobject_metadata'), '(oid)'
) AS counted ORDER BY name \\gexec
"

# What COUNTING gives as rows.tsv has it: name, tab, rows.
counted() {
  LC_ALL=C awk -v mark="$count_mark " 'index($0, mark) == 1 {
      name = substr($0, length(mark) + 1)
      if (name != "") printf "%s\t%.0f\n", name, rows
      rows = 0
      next
    }
    { rows++ }'
}

# --- Redis ---

# As admin; the password is the first thing that it reads.
redis_do() { # commands on standard input
  # shellcheck source=/dev/null # NAME='value' lines, written by the program
  { (. "$srv/config/platform.env" && printf 'AUTH admin "%s"\n' "$(printf '%s' "$REDIS_ADMIN_PASSWORD" | sed 's/[\\"]/\\&/g')") && cat; } |
    docker exec --interactive redis-cache redis-cli 2>&1 | tr -d '\r' | sed 1d
}

# Keys, and how many of them have an end, in a dump that redis-check-rdb finds whole.
rdb_keys() { # PATH
  docker run --rm --interactive --network none --cap-drop ALL --user 0:0 --entrypoint redis-check-rdb "$REDIS_IMAGE" /dev/stdin <"$1" 2>/dev/null |
    awk '/ keys read$/ { keys = $2 } / expires$/ { ends = $2 } /RDB looks OK/ { good = 1 } END { if (good) print keys + 0, ends + 0; exit !good }'
}
