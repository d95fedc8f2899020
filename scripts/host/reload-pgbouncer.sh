#!/bin/sh
# reload-pgbouncer.sh: have PgBouncer read its files again. No connection is dropped.
set -eu
exec docker kill --signal HUP pgbouncer >/dev/null
