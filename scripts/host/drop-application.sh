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
case $name in '' | -* | *[!a-z0-9-]*) fail "'$name' is no application's name; write one of a-z, 0-9 and hyphens" ;; esac
[ "$(id -u)" = 0 ] || fail "only root may delete an application; run sudo $0 $*"

# As application.sh: an application must not say in its database what a name means to this superuser.
run_sql() { # DATABASE; SQL is standard input
  docker exec --interactive \
    --env PGOPTIONS='-c search_path=pg_catalog,pg_temp -c role=none -c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=10s -c client_min_messages=warning' \
    postgres-db \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname="$1" \
    --set=mark="central-data-platform application $name" --file=-
}

# Redis as admin; the password is the first thing that it reads.
redis() { # commands on standard input
  # shellcheck source=/dev/null # NAME='value' lines, written by the program
  { (. ./config/platform.env && printf 'AUTH admin "%s"\n' "$(printf '%s' "$REDIS_ADMIN_PASSWORD" | sed 's/[\\"]/\\&/g')") && cat; } |
    docker exec --interactive redis-cache redis-cli | sed 1d
}

# By the mark of its owner: an application may write what it likes on its own database.
databases() {
  run_sql postgres <<'SQL'
SELECT datname FROM pg_database WHERE shobj_description(datdba, 'pg_authid') = :'mark';
SQL
}

roles() {
  run_sql postgres <<'SQL'
SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = :'mark' ORDER BY rolname;
SQL
}

listed_roles=$(roles)
listed_databases=$(databases)
open=$(echo "SELECT rolname FROM pg_roles WHERE rolcanlogin AND shobj_description(oid, 'pg_authid') = :'mark';" | run_sql postgres)
if [ -n "$open" ] || grep -q "^APP_$(echo "$name" | tr a-z- A-Z_)_DB_PASSWORD=" config/platform.env; then
  fail "application $name is in the settings; take it out of applications and run up first"
fi
echo "database: ${listed_databases:-none}"
echo "roles:    $(echo "${listed_roles:-none}" | tr '\n' ' ')"
echo "Redis:    keys $name:*"
[ "${2:-}" = --yes ] || fail "nothing was deleted; run $0 $name --yes to delete this for good"

run_sql postgres <<'SQL'
SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database
  WHERE shobj_description(datdba, 'pg_authid') = :'mark' \gexec
SQL
# What the roles own or may do in other databases, where somebody has given it to them, has to go before they can.
echo "SELECT datname FROM pg_database WHERE datallowconn;" | run_sql postgres | while read -r database; do
  run_sql "$database" <<'SQL'
SELECT format('REASSIGN OWNED BY %1$I TO platform_admin; DROP OWNED BY %1$I', rolname)
  FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = :'mark' \gexec
SQL
done
run_sql postgres <<'SQL'
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = :'mark' \gexec
SQL
[ -z "$(databases)$(roles)" ] || fail "something of application $name is left in PostgreSQL; run $0 $name --yes again"
echo "database and roles are deleted"

# In steps: one that ran through all keys would hold up everybody.
step="local r = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000) for _, key in ipairs(r[2]) do redis.call('UNLINK', key) end return r[1]"
# Redis has numbered databases, and a user is in all of them.
for number in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
  cursor=0
  while :; do
    cursor=$(printf 'SELECT %s\nEVAL "%s" 0 %s %s:*\n' "$number" "$step" "$cursor" "$name" | redis | sed 1d)
    case $cursor in
      0) break ;;
      '' | *[!0-9]*) fail "Redis did not delete the keys $name:*: $cursor; run $0 $name --yes again" ;;
    esac
  done
done
echo "its keys in Redis are deleted"
