#!/bin/sh
# reload-postgres.sh: have PostgreSQL read its configuration again, and fail where it found a fault in it.
set -eu

query() {
  docker exec postgres-db psql --no-psqlrc --quiet --tuples-only --no-align --username=platform_admin --dbname=postgres --command "$1"
}

faults=$(query "
  SELECT format('postgresql.conf line %s: %s', sourceline, error) FROM pg_file_settings
    WHERE error IS NOT NULL
  UNION ALL SELECT format('pg_hba.conf line %s: %s', line_number, error) FROM pg_hba_file_rules WHERE error IS NOT NULL
  UNION ALL SELECT format('pg_ident.conf line %s: %s', line_number, error) FROM pg_ident_file_mappings WHERE error IS NOT NULL")
if [ -n "$faults" ]; then
  printf 'PostgreSQL refuses its configuration and goes on with the old one:\n%s\n' "$faults" >&2
  exit 1
fi
query "SELECT pg_reload_conf()" >/dev/null
