#!/bin/sh
# remove-monitoring.sh SRV_ROOT: take away what monitoring reads, its passwords first. The history in data/prometheus stays.
set -eu
srv=$1

rm -rf "$srv/config/monitoring/redis-exporter" "$srv/config/monitoring/grafana-secrets"
rm -rf "$srv/config/monitoring" "$srv/apps/monitoring.d" "$srv/run/metrics"
rm -f "$srv/apps/metrics.sh" "$srv/config/pgbouncer/pg_ident.conf"
