# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# Backups, where they are set up: backup.d knows them.
group=Backups
[ -f "$apps/backup.d/checks.sh" ] && [ -f "$srv/config/backup/backup.env" ] || return 0
# shellcheck source=scripts/host/backup.d/checks.sh
. "$apps/backup.d/checks.sh"
