#!/bin/bash
# What the official image's entry point does from 18 on before it goes on as 17's: its own PGDATA holds the major, and it
# refuses data, or a mount, at the former place.
set -Eeo pipefail

if [ "${1:-}" = postgres ] && [ "$PGDATA" = "/var/lib/postgresql/$PG_MAJOR/docker" ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  for folder in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
    if [ -s "$folder/PG_VERSION" ] || grep -q ' /var/lib/postgresql/data ' /proc/mounts; then
      printf >&2 'Error: in 18+, these Docker images are configured to store database data in a\n       format which is compatible with "pg_ctlcluster"; there appears to be PostgreSQL data in:\n         %s\n' "$folder"
      exit 1
    fi
  done
fi

exec docker-entrypoint-17.sh "$@"
