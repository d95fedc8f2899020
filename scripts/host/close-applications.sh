#!/bin/sh
# close-applications.sh apply|check SRV_ROOT [NAME...]: applications other than these NAMEs have no access any more.
#
# An application that was taken out of the settings can be put back: database, roles and keys stay, until somebody runs
# drop-application.sh. Its Redis user is redis-users.sh's.
set -eu
action=$1 srv=$2
shift 2
names=" $* "

fail() {
  echo "$1" >&2
  exit 1
}

run_sql() {
  docker exec --interactive postgres-db \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname=postgres \
    --set=names="$names" --file=-
}

# Below, `open` are the logins of the others; application.sh has marked them with a comment.
open_logins() {
  cat <<'SQL'
CREATE TEMPORARY TABLE open AS SELECT oid, rolname, application FROM pg_roles,
  substring(shobj_description(oid, 'pg_authid') FROM '^central-data-platform application (.*)$') AS application
  WHERE rolcanlogin AND application IS NOT NULL AND NOT application = ANY (string_to_array(trim(:'names'), ' '));
SQL
}

# server.env files with a block of the platform's, of applications that are not among the names.
left_files() {
  for file in "$srv"/apps/*/server.env "$srv"/apps/*/server.external.env; do
    [ -f "$file" ] || continue
    folder=${file%/*}
    case $names in *" ${folder##*/} "*) continue ;; esac
    ! grep -q '^# BEGIN central-data-platform' "$file" || echo "$file"
  done
}

close_file() {
  rm -f "$1.new"
  (umask 077 && awk '/^# BEGIN central-data-platform/ { inside = 1 } !inside { print } /^# END central-data-platform/ { inside = 0 }' "$1" >"$1.new")
  if [ -s "$1.new" ]; then
    sync "$1.new"
    mv -f "$1.new" "$1"
  else
    rm -f "$1" "$1.new"
  fi
}

apply() {
  {
    open_logins
    cat <<'SQL'
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', rolname) FROM open \gexec
SELECT format('REVOKE CONNECT ON DATABASE %I FROM %I', datname, rolname) FROM open JOIN pg_database
  ON shobj_description(pg_database.oid, 'pg_database') = 'central-data-platform application ' || application \gexec
SELECT format('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = %s', oid) FROM open \gexec
SQL
  } | run_sql >/dev/null
  left_files | while read -r file; do close_file "$file"; done
}

check() {
  {
    open_logins
    echo "SELECT format('role %I may log in, and application %s is not in the settings', rolname, application) FROM open;"
  } | run_sql 2>/dev/null || echo "postgres-db does not answer"
  left_files | sed 's/$/ holds connections of an application that is not in the settings/'
}

case $action in
  apply) apply ;;
  check) check ;;
  *) fail "usage: close-applications.sh apply|check SRV_ROOT [NAME...]" ;;
esac
