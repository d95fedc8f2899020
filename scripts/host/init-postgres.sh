#!/bin/sh
# init-postgres.sh IMAGE SRV_ROOT LOCALE_PROVIDER LOCALE: make an empty data directory into a PostgreSQL cluster.
#
# A container of the service's own image does it once, without a network. The cluster gets no password here: over TCP only
# SCRAM is accepted, so nobody gets in before psql.sh has set the verifiers (docs/decisions/0003-initdb-without-password.md).
set -eu
image=$1 srv=$2 provider=$3 locale=$4
data=$srv/data/postgres
# Beside the data, so that the last step is a rename within one file system.
fresh=$srv/data/.postgres.new
container=postgres-db-init
chosen="$provider $locale"
record=$srv/data/postgres.locale

fail() {
  echo "$1" >&2
  exit 1
}

if [ -f "$data/PG_VERSION" ]; then
  kept=$(cat "$record" 2>/dev/null || echo "$chosen")
  [ "$kept" = "$chosen" ] ||
    fail "the cluster in $data was made with locale '$kept', which cannot become '$chosen' in place; set central-data-platform:postgres.locale back, or dump and restore into a new cluster"
  exit 0
fi
[ -d "$data" ] || fail "the data directory $data is missing; is the volume of $srv mounted?"
[ -z "$(ls -A "$data")" ] ||
  fail "$data holds files but no PostgreSQL cluster (PG_VERSION is missing); move them away, then run up again"

case $provider in
  builtin) set -- --locale-provider=builtin "--builtin-locale=$locale" ;;
  icu) set -- --locale-provider=icu "--icu-locale=$locale" ;;
  *) fail "unknown locale provider '$provider'; write builtin or icu" ;;
esac

cleanup() {
  docker rm --force "$container" >/dev/null 2>&1 || true
  rm -rf "$fresh"
}
# What an attempt that was cut off has left behind.
cleanup
trap cleanup EXIT
trap 'exit 130' HUP INT TERM
mkdir -m 0700 "$fresh"
chown 999:999 "$fresh"
# A command other than `postgres` is run by the image's entry point as it is.
docker run --rm --name "$container" --network none --user 999:999 --cap-drop ALL --security-opt no-new-privileges:true \
  --volume "$fresh:/var/lib/postgresql/data" "$image" \
  initdb --pgdata=/var/lib/postgresql/data --username=platform_admin --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
  --auth-local=peer --auth-host=scram-sha-256 "$@" >/dev/null ||
  fail "initdb failed in $fresh (the lines above say why); nothing was kept, correct it and run up again"
printf '%s\n' "$chosen" >"$record.new"
mv "$record.new" "$record"
sync "$record"
# One step, and only while $data is still empty.
mv -T "$fresh" "$data"
