#!/bin/sh
# Debian's prometheus-node-exporter as the published image has it.
set -eu
exec "$(dirname "$0")/../monitoring-setup.sh" "$1" "$2" /usr/bin/prometheus-node-exporter /bin/node_exporter
