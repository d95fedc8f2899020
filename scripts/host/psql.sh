#!/bin/sh
# psql.sh: run the SQL of standard input as platform_admin in postgres-db. Root inside the container needs no password.
set -eu
exec docker exec --interactive postgres-db \
  psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname=postgres
