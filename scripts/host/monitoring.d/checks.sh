# shellcheck shell=sh
# shellcheck disable=SC2154 # $srv is status.sh's
# What status.sh says of monitoring (status.d/65-monitoring.sh reads it); its containers are among the services.
#
# Each alert that fires in the store is a check of its own, so that alert.sh tells of it like of every other. One whose label
# `check` names a check of status.sh is not said twice.
# shellcheck source=/dev/null
. "$srv/config/monitoring/monitoring.env"

# One line an alert: name, severity, since, summary. The rules' tests hold that no summary has a quotation mark or a backslash.
firing() {
  sed 's/},{"labels":/}\n{"labels":/g' | sed -n '/"state":"firing"/{
    /"check":"/d
    s/.*"labels":{"alertname":"\([^"]*\)".*"severity":"\([^"]*\)".*"summary":"\([^"]*\)".*"activeAt":"\([^"]*\)".*/\1\t\2\t\4\t\3/p
  }' | sort
}

if ! answer=$(curl --disable --silent --show-error --fail --max-time 4 "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/alerts" 2>&1); then
  check monitoring fail "Prometheus does not answer, so nobody knows which alerts fire ($(printf '%s' "$answer" | tail -n 1)); see docker logs prometheus"
else
  down=$(curl --disable --silent --fail --max-time 4 "http://127.0.0.1:$PROMETHEUS_PORT/federate?match[]=up" --globoff |
    sed -n 's/^up{.*job="\([^"]*\)".*} 0 .*/\1/p' | tr '\n' ' ')
  if [ -n "$down" ]; then
    check monitoring warn "Prometheus answers, and does not reach ${down% }"
  else
    check monitoring ok "Prometheus answers and reaches everything"
  fi
  printf '%s\n' "$answer" | firing | while IFS="$(printf '\t')" read -r name severity since summary; do
    case $severity in critical) state=fail ;; *) state=warn ;; esac
    check "alert-$name" "$state" "$summary" "$since"
  done
fi
