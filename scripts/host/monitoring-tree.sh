#!/bin/sh
# monitoring-tree.sh SRV_ROOT: make monitoring's folders, each with its owner and mode. What is there already stays.
set -eu
srv=$1

folder() { # PATH MODE OWNER
  [ -d "$srv/$1" ] && return
  # It gets its name last: a run that is cut off leaves no folder with the wrong owner or mode.
  mkdir -p "$srv/$1.new"
  chown "$3" "$srv/$1.new"
  chmod "$2" "$srv/$1.new"
  mv "$srv/$1.new" "$srv/$1"
  # Where SELinux is in use, label-tree.sh has said which label each folder has.
  if command -v restorecon >/dev/null; then restorecon "$srv/$1"; fi
}

folder config/monitoring 0755 0:0
folder config/monitoring/prometheus 0755 0:0
folder config/monitoring/prometheus/rules 0755 0:0
folder config/monitoring/redis-exporter 0755 0:0
folder config/monitoring/grafana 0755 0:0
folder config/monitoring/grafana/dashboards 0755 0:0
folder config/monitoring/grafana/provisioning 0755 0:0
folder config/monitoring/grafana/provisioning/datasources 0755 0:0
folder config/monitoring/grafana/provisioning/dashboards 0755 0:0
folder config/monitoring/grafana-secrets 0755 0:0
folder apps/monitoring.d 0755 0:0
folder data/prometheus 0700 65534:65534
folder run/metrics 0755 0:0
