#!/bin/sh
# grafana-password.sh SRV_ROOT: give Grafana's user admin the password of its file. Grafana itself reads it at its first start only.
set -eu
srv=$1

said=$(docker exec --interactive grafana grafana cli --homepath /usr/share/grafana --config /etc/grafana/grafana.ini \
  admin reset-admin-password --password-from-stdin <"$srv/config/monitoring/grafana-secrets/admin-password" 2>&1 >/dev/null) || {
  echo "Grafana did not take the password of its user admin: $(printf '%s\n' "$said" | tail -n 1); see docker logs grafana, and run up again" >&2
  exit 1
}
