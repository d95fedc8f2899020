#!/bin/sh
# Debian's prometheus-redis-exporter as the published image has it.
set -eu
exec "$(dirname "$0")/../monitoring-setup.sh" "$1" "$2" /usr/bin/prometheus-redis-exporter /redis_exporter
