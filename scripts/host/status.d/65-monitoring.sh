# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # $group is for `check`; $apps and $srv are status.sh's
# Monitoring, where it is on: what it says of itself, and its alerts.
group=Monitoring
[ -f "$apps/monitoring.d/checks.sh" ] && [ -f "$srv/config/monitoring/monitoring.env" ] || return 0
# shellcheck source=scripts/host/monitoring.d/checks.sh
. "$apps/monitoring.d/checks.sh"
