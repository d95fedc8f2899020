#!/bin/sh
# reload-pgbouncer.sh: have PgBouncer read its files again. No connection is dropped.
set -eu
# Not `docker kill`: with any signal it marks the container as stopped by hand, and `unless-stopped` no longer restarts it.
exec docker exec pgbouncer sh -c 'kill -HUP 1'
