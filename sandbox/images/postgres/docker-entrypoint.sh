#!/bin/bash
# The documented behaviour of the official PostgreSQL image's entry point. bash, as there: the scripts of
# /docker-entrypoint-initdb.d are sourced into it.
set -Eeo pipefail

# VARIABLE [DEFAULT]: takes the value from VARIABLE or from the file named in VARIABLE_FILE, and exports it.
file_env() {
  local variable=$1 file_variable=${1}_FILE value=${2:-}
  if [ -n "${!variable:-}" ] && [ -n "${!file_variable:-}" ]; then
    printf >&2 'error: both %s and %s are set (but are exclusive)\n' "$variable" "$file_variable"
    exit 1
  fi
  if [ -n "${!variable:-}" ]; then
    value=${!variable}
  elif [ -n "${!file_variable:-}" ]; then
    value=$(<"${!file_variable}")
  fi
  export "$variable"="$value"
  unset "$file_variable"
}

only_asks_for_information() {
  local argument
  for argument; do
    case $argument in
      -'?' | --help | --describe-config | -V | --version) return 0 ;;
    esac
  done
  return 1
}

prepare_directories() {
  mkdir -p "$PGDATA"
  chmod 00700 "$PGDATA" || :
  mkdir -p /var/run/postgresql || :
  chmod 03775 /var/run/postgresql || :
  if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then
    mkdir -p "$POSTGRES_INITDB_WALDIR"
    chmod 700 "$POSTGRES_INITDB_WALDIR"
  fi
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} /var/run/postgresql \
      ! -user postgres -exec chown postgres '{}' +
  fi
}

read_environment() {
  file_env POSTGRES_PASSWORD
  file_env POSTGRES_USER postgres
  file_env POSTGRES_DB "$POSTGRES_USER"
  file_env POSTGRES_INITDB_ARGS
  : "${POSTGRES_HOST_AUTH_METHOD:=}"
}

require_password() {
  if [ "$POSTGRES_HOST_AUTH_METHOD" = trust ]; then
    cat >&2 <<'WARNING'
********************************************************************************
WARNING: POSTGRES_HOST_AUTH_METHOD has been set to "trust". This will allow
         anyone with access to the Postgres port to access your database without
         a password, even if POSTGRES_PASSWORD is set.
********************************************************************************
WARNING
  elif [ -z "$POSTGRES_PASSWORD" ]; then
    cat >&2 <<'ERROR'
Error: Database is uninitialized and superuser password is not specified.
       You must specify POSTGRES_PASSWORD to a non-empty value for the
       superuser. For example, "-e POSTGRES_PASSWORD=password" on "docker run".

       You may also use "POSTGRES_HOST_AUTH_METHOD=trust" to allow all
       connections without a password. This is *not* recommended.

       See PostgreSQL documentation about "trust":
       https://www.postgresql.org/docs/current/auth-trust.html
ERROR
    exit 1
  fi
}

# initdb wants to know the name of its user, which an arbitrary --user does not have.
name_this_user() {
  ! getent passwd "$(id -u)" >/dev/null || return 0
  local wrapper
  wrapper=$(find /usr/lib -name libnss_wrapper.so -print -quit)
  [ -n "$wrapper" ] || return 0
  NSS_WRAPPER_PASSWD=$(mktemp)
  NSS_WRAPPER_GROUP=$(mktemp)
  export LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
  printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$(id -u)" "$(id -g)" "$PGDATA" >"$NSS_WRAPPER_PASSWD"
  printf 'postgres:x:%s:\n' "$(id -g)" >"$NSS_WRAPPER_GROUP"
}

forget_user_name() {
  [ -n "${NSS_WRAPPER_PASSWD:-}" ] || return 0
  rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
  unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
}

make_cluster() {
  name_this_user
  # eval, because POSTGRES_INITDB_ARGS holds several words, quoted as in a shell.
  eval 'initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD")' \
    '${POSTGRES_INITDB_WALDIR:+--waldir "$POSTGRES_INITDB_WALDIR"}' "$POSTGRES_INITDB_ARGS"
  forget_user_name
}

allow_hosts() { # the server's arguments
  local method=$POSTGRES_HOST_AUTH_METHOD
  # The shell's own "postgres -C" knows the settings that were given as arguments.
  [ -n "$method" ] || method=$(postgres -C password_encryption "${@:2}")
  {
    printf '\n'
    if [ "$method" = trust ]; then
      printf '# warning trust is enabled for all connections\n'
      printf '# see https://www.postgresql.org/docs/17/auth-trust.html\n'
    fi
    printf 'host all all all %s\n' "$method"
  } >>"$PGDATA/pg_hba.conf"
}

# Only its socket: a client from outside must not meet a half-made database.
start_for_setup() { # the server's arguments
  NOTIFY_SOCKET='' PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -w start \
    -o "$(printf '%q ' "${@:2}" -c "listen_addresses=" -p "${PGPORT:-5432}")"
}

# The name under which the scripts of /docker-entrypoint-initdb.d may know it as well.
docker_process_sql() {
  PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc \
    --dbname "$POSTGRES_DB" "$@"
}

make_database() {
  # The last --dbname is the one that counts.
  local exists
  exists=$(docker_process_sql --dbname postgres --set db="$POSTGRES_DB" --tuples-only \
    <<<"SELECT 1 FROM pg_database WHERE datname = :'db';")
  if [ -z "$exists" ]; then
    docker_process_sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    printf '\n'
  fi
}

run_setup_files() {
  local file
  printf '\n'
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh)
        if [ -x "$file" ]; then
          printf '%s: running %s\n' "$0" "$file"
          "$file"
        else
          printf '%s: sourcing %s\n' "$0" "$file"
          # shellcheck disable=SC1090 # whatever the user put there
          . "$file"
        fi
        ;;
      *.sql) printf '%s: running %s\n' "$0" "$file" && docker_process_sql -f "$file" ;;
      *.sql.gz) printf '%s: running %s\n' "$0" "$file" && gunzip -c "$file" | docker_process_sql ;;
      *.sql.xz) printf '%s: running %s\n' "$0" "$file" && xzcat "$file" | docker_process_sql ;;
      *.sql.zst) printf '%s: running %s\n' "$0" "$file" && zstd -dc "$file" | docker_process_sql ;;
      '/docker-entrypoint-initdb.d/*') ;;
      *) printf '%s: ignoring %s\n' "$0" "$file" ;;
    esac
    printf '\n'
  done
}

initialise() { # the server's command and arguments
  require_password
  # Says so at once when the folder cannot be read, not after the cluster was made.
  ls /docker-entrypoint-initdb.d/ >/dev/null
  make_cluster
  allow_hosts "$@"
  export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
  start_for_setup "$@"
  make_database
  run_setup_files
  PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

[ "${1:0:1}" != - ] || set -- postgres "$@"

if [ "${1:-}" = postgres ] && ! only_asks_for_information "$@"; then
  prepare_directories
  [ "$(id -u)" != 0 ] || exec gosu postgres "${BASH_SOURCE[0]}" "$@"
  read_environment
  if [ -s "$PGDATA/PG_VERSION" ]; then
    printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
  else
    initialise "$@"
  fi
fi

exec "$@"
