#!/bin/sh
# restore.sh DATABASE [RUN|FILE|latest] [--into NAME] [--yes]: a database as it was when it was dumped (latest unless said).
#
# It is restored beside, under a name of its own, and compared with what was counted for the dump; only then is it put in the
# place of the one that there is, which is kept as DATABASE_before_NOW. Applications are held back at PgBouncer for this last step,
# a few seconds, and notice nothing else. Without --yes no database is replaced; with --into none is.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
# shellcheck source=scripts/host/backup.d/dumps.sh
. "$apps/backup.d/dumps.sh"
paused=$srv/run/restore.paused
client=restore

# --- Whatever happens ---

# First what applications wait for.
clean_up() { # COPY ADMIN'S DATABASE
  if [ -e "$paused" ]; then
    # PgBouncer says so where it is not held back: then there is nothing to let go on.
    "$apps/pooler.sh" resume >/dev/null 2>&1 || "$apps/pooler.sh" resume >/dev/null 2>&1 || :
    rm -f "$paused"
  fi
  # A container outlives the process that started it.
  docker rm --force "$client" >/dev/null 2>&1 || :
  # A server that went down, for a full disk perhaps, comes back by itself in a while.
  for try in $(seq 90); do
    said=$(echo 'DROP DATABASE IF EXISTS :"copy" WITH (FORCE);' | psql_in "$2" --set=copy="$1" 2>&1) && return
    # Where it goes down just now, psql ends without a word. What the server refuses, it goes on refusing.
    case $said in *'ERROR: '*) return 1 ;; *) [ "$try" = 90 ] || sleep 1 ;; esac
  done
  return 1
}

if [ "${1:-}" = --clean-up ] && [ $# -eq 3 ]; then
  clean_up "$2" "$3" || :
  exit
fi

usage() {
  fail "usage: sudo $0 DATABASE [RUN|FILE|latest] [--into NAME] [--yes]"
}

# A database's name may begin with a hyphen, so the first word is one whatever it is.
[ $# -ge 1 ] && [ -n "$1" ] || usage
database=$1 which='' into='' yes=no
shift
while [ $# -gt 0 ]; do
  case $1 in
    --yes) yes=yes ;;
    --into)
      [ $# -ge 2 ] && [ -n "$2" ] || usage
      into=$2
      shift
      ;;
    -*) usage ;;
    *)
      [ -z "$which" ] || usage
      which=$1
      ;;
  esac
  shift
done
target=${into:-$database}
[ "$(printf '%s' "$target" | wc -c)" -le 63 ] || fail "'$target' is longer than 63 bytes, which is as long as a database's name can be"
case $target in
  template0 | template1) fail "$target is a template of PostgreSQL's, which no backup holds; name a database" ;;
  *_restore_????????T??????Z) fail "names that end like '$target' are for databases that are being restored; choose another one for --into" ;;
esac
# Nobody can be connected to what is renamed.
admin=postgres
[ "$target" != postgres ] || admin=template1

# --- What is to be restored, and whether it may ---

only_one
encoded_name=$(encoded "$database")
find_file "${which:-latest}" "$encoded_name.dump" "database '$database'"
name=${file%.dump}
require_postgres

ask() { # SQL is standard input; :'target' and so on are set
  psql_in "$admin" --set=target="$target" --set=copy="${copy:-}" --set=before="${before:-}" --field-separator="$tab"
}

exists=$(echo "SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'target');" | ask) || fail "postgres-db does not answer; look at docker logs postgres-db"
if [ "$exists" = t ]; then
  [ -z "$into" ] || fail "database '$target' is there already; choose another name for --into"
  [ "$yes" = yes ] || fail "database '$target' is there, and nothing was begun: say --yes to replace it (it is kept under another name), or --into NAME to restore beside it"
fi
# While the server is asked and tidied up.
(check_sum "$file") &
checking=$!
[ ! -f "$folder/$name.rows.tsv" ] || check_sum "$name.rows.tsv"

# As long as a name can be, cut where a character ends.
fitted() { # SUFFIX
  echo "SELECT left(:'target', (SELECT max(n) FROM generate_series(0, length(:'target')) AS n
    WHERE octet_length(left(:'target', n)) <= 63 - length('$1'))) || '$1';" | ask
}
copy=$(fitted "_restore_${run:-$now}")
before=$(fitted "_before_$now")

# --- A copy ---

options='-c role=none -c default_transaction_read_only=off -c statement_timeout=0 -c synchronous_commit=off'
in_postgres() { # WORD...; the dump is standard input
  docker exec --interactive --env PGOPTIONS="$options" postgres-db "$@" <"$folder/$file" 7>&-
}

# For definitions, of which none waits for another, a container of its own is not worth its start.
in_one() { # PG_RESTORE'S ARGUMENT...
  in_postgres pg_restore "$@"
}

# With the dump as a file, which several sessions can read at once; root, since nobody else may read it.
jobs=$(nproc)
[ "$jobs" -le 4 ] || jobs=4
in_parallel() { # PG_RESTORE'S ARGUMENT...
  # A path may hold whatever separates words elsewhere.
  quoted=$(printf '%s' "$folder" | sed 's/"/""/g')
  in_client --user 0:0 --env PGOPTIONS="$options" --volume "$srv/run/postgresql:/var/run/postgresql" --volume "$work:/work:ro" \
    --mount "type=bind,\"source=$quoted\",target=/dump,readonly" --entrypoint pg_restore "$POSTGRES_IMAGE" --jobs="$jobs" "$@" "/dump/$file" 7>&-
}

# What globals.sql of the same run would make, and this dump needs.
missing_roles() {
  [ -f "$folder/globals.sql" ] || return 0
  candidates=$({
    echo "SELECT role FROM (VALUES ('public')"
    sed -n "s/^CREATE ROLE \(.*\);\$/\1/p" "$folder/globals.sql" | sed "s/'/''/g; s/.*/, ('&')/"
    echo ") AS named (role) WHERE role <> 'public' AND to_regrole(role) IS NULL;"
  } | ask)
  [ -n "$candidates" ] || return 0
  in_postgres pg_restore --create --schema-only --file=- >"$work/schema.sql"
  printf '%s\n' "$candidates" | while IFS= read -r role; do
    ! grep -qF -e " TO $role;" -e " TO $role " -e " FROM $role;" -e " FOR ROLE $role " -e " ROLE $role IN " "$work/schema.sql" || echo "$role"
  done
}

# The database itself, as pg_restore --create would make it but for its name: encoding, locale, owner, rights, settings.
database_sql() {
  list=$(in_postgres pg_restore --create --list | grep -E '^[0-9]+; [0-9]+ [0-9]+ (ACL|COMMENT|SECURITY LABEL) - DATABASE ') || :
  # shellcheck disable=SC2016 # for the shell in the container
  in_postgres sh -c 'list=$(mktemp) && printf "%s\n" "$1" >"$list" && pg_restore --create --use-list="$list" --file=- && rm "$list"' sh "$list" |
    awk '
      /^CREATE DATABASE / && name == "" { name = substr($0, 17); sub(/ WITH TEMPLATE = .*/, "", name) }
      /^\\(connect|encoding|restrict|unrestrict) / { next }
      /^(CREATE DATABASE|ALTER DATABASE|ALTER ROLE|GRANT|REVOKE|COMMENT ON DATABASE|SECURITY LABEL) / {
        at = index($0, "DATABASE " name)
        if (at) $0 = substr($0, 1, at + 8) ":\"copy\"" substr($0, at + 9 + length(name))
      }
      { print }'
}

# In words: what a program has said first.
why() {
  said=$(grep -m 1 -i 'error' "$work/errors" || tail -n 1 "$work/errors")
  case $said in
    *role*'does not exist'*) echo "${said#*ERROR: }: make the roles first, from ${run:+$folder/}globals.sql of the run" ;;
    *) echo "${said:-nothing was said; look at docker logs postgres-db}" ;;
  esac
}

# shellcheck disable=SC2329 # by trap
finish() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  clean_up "$copy" "$admin" || [ "$status" = 0 ] || echo "the half-restored copy '$copy' is still there; the next restore of this dump removes it" >&2
  unguard
  rm -rf "$work"
  exit "$status"
}
work=$(mktemp -d)
trap finish EXIT
trap 'echo "restoring was ended by a signal; database $target is as it was" >&2; exit 1' HUP INT TERM
guard "$copy" "$admin"
# What a restore has left whose machine went down.
clean_up "$copy" "$admin" || fail "database '$copy', which an earlier restore has left, cannot be removed: $said"

wait "$checking" || exit 1
in_postgres pg_restore --list >/dev/null 2>"$work/errors" || fail "$folder/$file is no dump that pg_restore can read: $(why)"
missing=$(missing_roles)
[ -z "$missing" ] ||
  fail "roles of this dump are missing: $(printf '%s\n' "$missing" | sed '$!s/$/,/' | tr '\n' ' ' | sed 's/ $//'); make them first, from $folder/globals.sql"
# The data, as much WAL, and that once more where it is received.
size=$(awk -F '\t' -v name="$name" '$1 == name { print $4 }' "$folder/databases.tsv" 2>/dev/null) || :
need_space "$srv/data/postgres" "$((${size:-$(($(stat -c %s "$folder/$file") * 4))} * 3))" "the restored copy"

began=$(date +%s)
database_sql >"$work/database.sql" 2>"$work/errors" || fail "$folder/$file does not say how its database was made: $(why)"
ask <"$work/database.sql" >/dev/null 2>"$work/errors" || fail "database '$copy' could not be made: $(why)"
fill() { # in_parallel|in_one ROLE PG_RESTORE'S ARGUMENT
  "$1" --exit-on-error "$3" --dbname="postgresql://$2@/$(encoded "$copy")" 2>"$work/errors" ||
    fail "$folder/$file could not be restored, and nothing was changed: $(why)"
}
# Rows are checked by functions of the application's (CHECK, generated columns): they come in by a role that may do nothing else.
# Large objects run nothing, and want their owner's rights.
in_postgres pg_restore --list --section=data >"$work/list"
is_row='^[0-9]+; [0-9]+ [0-9]+ (TABLE DATA|SEQUENCE SET) '
fill in_one platform_admin --section=pre-data
echo 'GRANT CONNECT ON DATABASE :"copy" TO platform_restore;' | ask
grep -E "$is_row" "$work/list" >"$work/rows.list" || :
fill in_parallel platform_restore --use-list=/work/rows.list
echo 'REVOKE CONNECT ON DATABASE :"copy" FROM platform_restore;' | ask
if grep -Ev "$is_row|^;" "$work/list" >"$work/others.list"; then fill in_parallel platform_admin --use-list=/work/others.list; fi

# Indexes and constraints change no row, so what came is counted while they are made.
(exec 7>&- 9>&- && echo "$COUNTING" | psql_in "$copy" | counted >"$work/rows.tsv") &
counting=$!
fill in_parallel platform_admin --section=post-data
wait "$counting"
if [ ! -f "$folder/$name.rows.tsv" ]; then
  say "there is no $folder/$name.rows.tsv to compare the rows with"
else
  # Tables that could not be counted then are not compared.
  missed=$(LC_ALL=C awk 'FNR == NR { has[$0]; next } !($0 in has)' "$work/rows.tsv" "$folder/$name.rows.tsv" | tr '\n\t' '; ')
  [ -z "$missed" ] || fail "the restored copy has not the rows that were dumped, and nothing was changed; it should have: $missed"
fi
echo "ANALYZE;" | psql_in "$copy"
rows=$(awk -F '\t' '{ rows += $2 } END { printf "%.0f", rows }' "$work/rows.tsv")

# --- In its place ---

# Owner, rights and settings are those of the database that there is. Settings are copied as they stand in the catalogue: by
# ALTER DATABASE, lists among them (search_path) would have to be taken apart.
swap_sql() {
  if [ "$exists" = f ]; then
    echo 'ALTER DATABASE :"copy" RENAME TO :"target";'
    return
  fi
  cat <<'SQL'
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname IN (:'target', :'copy');
BEGIN;
ALTER DATABASE :"target" RENAME TO :"before";
ALTER DATABASE :"copy" RENAME TO :"target";
CREATE TEMPORARY VIEW old AS SELECT * FROM pg_database WHERE datname = :'before';
CREATE TEMPORARY VIEW new AS SELECT * FROM pg_database WHERE datname = :'target';
SELECT format('ALTER DATABASE %I OWNER TO %I', :'target', pg_get_userbyid(datdba)) FROM old \gexec
SELECT format('ALTER DATABASE %I CONNECTION LIMIT %s', :'target', datconnlimit) FROM old \gexec
SELECT format('COMMENT ON DATABASE %I IS %L', :'target', shobj_description(oid, 'pg_database')) FROM old \gexec
CREATE FUNCTION pg_temp.grantee(oid) RETURNS text LANGUAGE sql AS
  $$SELECT CASE WHEN $1 = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid($1)) END$$;
SELECT DISTINCT format('REVOKE ALL ON DATABASE %I FROM %s CASCADE', :'target', pg_temp.grantee(grantee))
  FROM new, aclexplode(coalesce(datacl, acldefault('d', datdba))) \gexec
SELECT format('GRANT %s ON DATABASE %I TO %s', privilege_type, :'target', pg_temp.grantee(grantee)) ||
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
  FROM old, aclexplode(coalesce(datacl, acldefault('d', datdba))) \gexec
DELETE FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM new);
INSERT INTO pg_db_role_setting SELECT new.oid, setrole, setconfig FROM new, old JOIN pg_db_role_setting ON setdatabase = old.oid;
COMMIT;
SQL
}

# Somebody may come in between those who are ended and the rename: then it is tried again.
swap() {
  for _ in 1 2 3 4 5; do
    ! swap_sql | ask >/dev/null 2>"$work/errors" || return 0
  done
  return 1
}

# Sessions that do not come through PgBouncer are ended, when those that do have been held back.
if [ "$exists" = t ] && [ "$(docker container inspect --format '{{.State.Running}}' pgbouncer 2>/dev/null)" = true ]; then
  : >"$paused"
  said=$("$apps/pooler.sh" pause 2>&1) || fail "database '$target' was not replaced, since its clients could not be held back: $said"
fi
swap || fail "database '$target' was not replaced: $(why)"
if [ -e "$paused" ]; then
  "$apps/pooler.sh" resume || fail "database '$target' is restored, but PgBouncer still holds clients back; run: sudo $apps/pooler.sh resume"
  rm -f "$paused"
fi

say "database '$target' is restored from $folder/$file: $rows rows in $(seconds_since "$began") s"
if [ "$exists" = t ]; then
  drop="DROP DATABASE \"$(printf '%s' "$before" | sed 's/"/""/g')\""
  echo "What it was before is database '$before'; when nobody needs it: sudo docker exec postgres-db psql -U platform_admin -d $admin -c $(printf '%s' "$drop" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/")"
fi
