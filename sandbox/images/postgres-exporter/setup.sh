#!/bin/sh
# Debian's prometheus-postgres-exporter as the published image has it.
set -eu
exec "$(dirname "$0")/../monitoring-setup.sh" "$1" "$2" /usr/bin/prometheus-postgres-exporter /bin/postgres_exporter
