#!/bin/sh
# close-applications.sh apply|check SRV_ROOT [NAME/LOGIN...]: nobody has access for an application but these LOGINs.
#
# An application that was taken out of the settings can be put back: database, roles and keys stay, until somebody runs
# drop-application.sh. Its Redis user is redis-running.sh's.
set -eu
action=$1 srv=$2
shift 2
names=' ' logins=' '
for application; do
  names="$names${application%%/*} "
  logins="$logins${application#*/} "
done

fail() {
  echo "$1" >&2
  exit 1
}

run_sql() {
  docker exec --interactive postgres-db \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname=postgres \
    --set=logins="$logins" --file=-
}

# The roles below are logins of others, or were: application.sh has marked them with a comment, and a login is a member of
# the owner of its application's database.
former_logins() {
  cat <<'SQL'
CREATE TEMPORARY VIEW former AS
  SELECT login.oid, login.rolname, login.rolcanlogin, owner.oid AS owner FROM pg_roles AS login
    JOIN pg_auth_members ON member = login.oid JOIN pg_roles AS owner ON owner.oid = roleid
  WHERE shobj_description(login.oid, 'pg_authid') LIKE 'central-data-platform application %'
    AND shobj_description(owner.oid, 'pg_authid') = shobj_description(login.oid, 'pg_authid')
    AND NOT login.rolname = ANY (string_to_array(trim(:'logins'), ' '));
SQL
}

# Files with a block of the platform's, of applications that are not among the names.
left_files() {
  for file in "$srv"/apps/*/server.env "$srv"/apps/*/server.external.env; do
    [ -f "$file" ] || continue
    folder=${file%/*}
    case $names in *" ${folder##*/} "*) continue ;; esac
    ! grep -q '^# BEGIN central-data-platform' "$file" || echo "$file"
  done
}

close_file() {
  awk '/^# BEGIN central-data-platform/ { wrong += inside++ } /^# END central-data-platform/ { wrong += !inside; inside = 0 }
    END { exit wrong || inside }' "$1" ||
    fail "$1 has a line '# BEGIN central-data-platform' without its '# END central-data-platform', so nobody knows which lines are yours; add the missing line, then run up again"
  rm -f "$1.new"
  (umask 077 && sed '/^# BEGIN central-data-platform/,/^# END central-data-platform/d' "$1" >"$1.new")
  if [ -s "$1.new" ]; then
    sync "$1.new"
    mv -f "$1.new" "$1"
  else
    rm -f "$1" "$1.new"
  fi
}

apply() {
  {
    former_logins
    # First what keeps them out, as a whole; then those who are in. What is cut off between is found by the next check.
    cat <<'SQL'
BEGIN;
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', rolname) FROM former \gexec
SELECT format('REVOKE CONNECT ON DATABASE %I FROM %I', datname, rolname) FROM former JOIN pg_database ON datdba = owner \gexec
COMMIT;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN former ON usesysid = former.oid;
SQL
  } | run_sql >/dev/null
  left_files | while read -r file; do close_file "$file"; done
}

check() {
  {
    former_logins
    cat <<'SQL'
SELECT format('role %I may log in, and is no login of an application in the settings', rolname) FROM former WHERE rolcanlogin
UNION ALL
SELECT format('role %I may connect to database %I, and is no login of an application in the settings', rolname, datname)
  FROM former JOIN pg_database ON datdba = owner, aclexplode(datacl) WHERE grantee = former.oid AND privilege_type = 'CONNECT'
UNION ALL
SELECT DISTINCT format('role %I is connected, and is no login of an application in the settings', rolname)
  FROM former JOIN pg_stat_activity ON usesysid = former.oid;
SQL
  } | run_sql 2>/dev/null || echo "postgres-db does not answer"
  left_files | sed 's/$/ holds connections of an application that is not in the settings/'
}

case $action in
  apply) apply ;;
  check) check ;;
  *) fail "usage: close-applications.sh apply|check SRV_ROOT [NAME/LOGIN...]" ;;
esac
