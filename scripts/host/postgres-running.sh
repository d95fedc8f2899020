#!/bin/sh
# postgres-running.sh apply|check: the running PostgreSQL has the configuration of its files, and nothing beside them.
#
# Standard input is what the files have to be, as sha256sum writes it, and the last line `end`. apply takes back what was set
# past the files (ALTER SYSTEM, ALTER ROLE ALL), has them read again, and fails where PostgreSQL finds a fault in them.
set -eu
action=$1

fail() {
  echo "$1" >&2
  exit 1
}

sums=$(cat)
case $sums in
  end | *"
end") ;;
  *) fail "PostgreSQL's configuration could not be looked at or read again: the list of its files was cut off on the way; run up again" ;;
esac

query() {
  docker exec postgres-db psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname=postgres "$@"
}

apply() {
  faults=$(query --command "
    SELECT format('postgresql.conf line %s: %s', sourceline, error) FROM pg_file_settings
      WHERE error IS NOT NULL
    UNION ALL SELECT format('pg_hba.conf line %s: %s', line_number, error) FROM pg_hba_file_rules WHERE error IS NOT NULL
    UNION ALL SELECT format('pg_ident.conf line %s: %s', line_number, error) FROM pg_ident_file_mappings WHERE error IS NOT NULL")
  [ -z "$faults" ] ||
    fail "$(printf 'PostgreSQL refuses its configuration and goes on with the old one:\n%s' "$faults")"
  before=$(query --command 'SELECT pg_conf_load_time()')
  query --command 'ALTER SYSTEM RESET ALL' --command 'ALTER ROLE ALL RESET ALL' --command 'SELECT pg_reload_conf()' >/dev/null
  # It has only been told so far.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ "$(query --command 'SELECT pg_conf_load_time()')" = "$before" ] || return 0
    sleep 1
  done
  fail "PostgreSQL has not read its configuration again within 10 s; see docker logs postgres-db, then run up again"
}

check() {
  printf '%s\n' "${sums%end}" | sed '/^$/d' | sha256sum --check --quiet 2>/dev/null | sed 's/: FAILED.*/ has another text, and PostgreSQL may have read it/' || :
  query --command "
    SELECT format('PostgreSQL has %s = %s by ALTER SYSTEM', name, setting) FROM pg_file_settings WHERE sourcefile LIKE '%/postgresql.auto.conf'
    UNION ALL SELECT format('every role has %s by ALTER ROLE ALL', setting)
      FROM pg_db_role_setting, unnest(setconfig) setting WHERE setdatabase = 0 AND setrole = 0
    UNION ALL SELECT format('PostgreSQL has not taken over %s: it waits for a restart (docker restart postgres-db)', name) FROM pg_settings WHERE pending_restart
    UNION ALL SELECT format('PostgreSQL has not read %s since it was written', name)
      FROM unnest(ARRAY[current_setting('config_file'), current_setting('hba_file'), current_setting('ident_file')]) name
      WHERE (pg_stat_file(name)).modification > pg_conf_load_time()"
}

case $action in
  apply) apply ;;
  check)
    if [ "$(docker container inspect --format '{{.State.Running}}' postgres-db 2>/dev/null)" = true ]; then
      check
    else
      echo "postgres-db is not running"
    fi
    ;;
  *) fail "usage: postgres-running.sh apply|check" ;;
esac
