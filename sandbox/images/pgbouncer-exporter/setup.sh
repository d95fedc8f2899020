#!/bin/sh
# Debian's prometheus-pgbouncer-exporter as the published image has it.
set -eu
exec "$(dirname "$0")/../monitoring-setup.sh" "$1" "$2" /usr/bin/prometheus-pgbouncer-exporter /bin/pgbouncer_exporter
