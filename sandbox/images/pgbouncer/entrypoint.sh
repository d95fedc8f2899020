#!/bin/bash
# The documented behaviour of percona-pgbouncer's entry point: every start adds one user and one database,
# taken from the environment, to the configuration, and starts PgBouncer with it, whatever the arguments say.
# As there, a failing step does not end the start (no set -e).

ini=/etc/pgbouncer/pgbouncer.ini
userlist=/etc/pgbouncer/userlist.txt

host=${DATABASES_HOST:-localhost}
port=${DATABASES_PORT:-5432}
user=${DATABASES_USER:-postgres}
password=${DATABASES_PASSWORD:-postgres}
database=${DATABASES_DBNAME:-postgres}
auth_type=${AUTH_TYPE:-md5}

stored_password() {
  case $auth_type in
    plain | scram-sha-256) printf '%s' "$password" ;;
    *) printf 'md5%s' "$(printf '%s' "$password$user" | md5sum | cut -d ' ' -f 1)" ;;
  esac
}

printf '"%s" "%s"\n' "$user" "$(stored_password)" >>"$userlist"

# The new entry goes right after the first [databases] line; the new file takes the place of the old one.
new=$(mktemp)
grep -q '^\[databases\]' "$ini" || echo '[databases]' >"$new"
awk -v entry="$database = host=$host port=$port user=$user" '
  { print }
  $0 == "[databases]" && !added { print entry; added = 1 }
' "$ini" >>"$new"
mv "$new" "$ini"

if grep -q '^auth_type' "$ini"; then
  sed -i "s/^auth_type.*/auth_type = $auth_type/" "$ini"
else
  echo "auth_type = $auth_type" >>"$ini"
fi

exec /usr/bin/pgbouncer "$ini"
