#!/bin/sh
# drop-application.sh NAME [--yes]: delete for good what an application that is no longer in the settings has left:
# its database, its roles, and its keys in Redis. Files in /srv/apps/NAME stay. Without --yes it only says what it would delete.
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "$1" >&2
  exit 1
}

case $#,${2:-} in
  1, | 2,--yes) ;;
  *) fail "usage: $0 NAME [--yes]" ;;
esac
name=$1
case $name in '' | *[!a-z0-9-]*) fail "'$name' is no application's name; write one of a-z, 0-9 and hyphens" ;; esac
[ "$(id -u)" = 0 ] || fail "only root may delete an application; run sudo $0 $*"

run_sql() {
  docker exec --interactive postgres-db \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname=postgres \
    --set=mark="central-data-platform application $name" --file=-
}

# Redis as admin; the password is the first thing that it reads.
redis() { # commands on standard input
  # shellcheck source=/dev/null # NAME='value' lines, written by the program
  { (. ./config/platform.env && printf "AUTH admin '%s'\n" "$(printf '%s' "$REDIS_ADMIN_PASSWORD" | sed "s/[\\\\']/\\\\&/g")") && cat; } |
    docker exec --interactive redis-cache redis-cli | sed 1d
}

databases() {
  echo "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') = :'mark';" | run_sql
}

roles() {
  echo "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = :'mark' ORDER BY rolname;" | run_sql
}

open=$(echo "SELECT rolname FROM pg_roles WHERE rolcanlogin AND shobj_description(oid, 'pg_authid') = :'mark';" | run_sql)
[ -z "$open" ] ||
  fail "application $name is in the settings (role $open may log in); take it out of applications and run up first"
listed_databases=$(databases) listed_roles=$(roles)
echo "database: ${listed_databases:-none}"
echo "roles:    $(echo "${listed_roles:-none}" | tr '\n' ' ')"
echo "Redis:    keys $name:*"
[ "${2:-}" = --yes ] || fail "nothing was deleted; run $0 $name --yes to delete this for good"

run_sql <<'SQL'
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
  WHERE shobj_description(oid, 'pg_database') = :'mark' \gexec
SQL
echo "the database is deleted"

# What the roles own or may do in other databases, where somebody has given it to them, has to go before they can.
echo "SELECT datname FROM pg_database WHERE datallowconn;" | run_sql | while read -r database; do
  docker exec --interactive postgres-db \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname="$database" \
    --set=mark="central-data-platform application $name" --file=- <<'SQL'
SELECT format('REASSIGN OWNED BY %1$I TO platform_admin; DROP OWNED BY %1$I', rolname)
  FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = :'mark' \gexec
SQL
done
run_sql <<'SQL'
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = :'mark' \gexec
SQL
echo "its roles are deleted"

# In steps: one that ran through all keys would hold up everybody.
step="local r = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000) for _, key in ipairs(r[2]) do redis.call('UNLINK', key) end return r[1]"
cursor=0
while :; do
  cursor=$(printf 'EVAL "%s" 0 %s %s:*\n' "$step" "$cursor" "$name" | redis)
  case $cursor in
    0) break ;;
    '' | *[!0-9]*) fail "Redis did not delete the keys $name:*: $cursor; run $0 $name --yes again" ;;
  esac
done
echo "its keys in Redis are deleted"
