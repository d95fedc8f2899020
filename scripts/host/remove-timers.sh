#!/bin/sh
# remove-timers.sh SRV_ROOT: take away the systemd units of the platform at SRV_ROOT, and end what they run.
#
# Units of another platform stay (`# srv: PATH` says whose a unit is).
set -eu
srv=$1
units=/etc/systemd/system

[ -d /run/systemd/system ] || exit 0
# Timers first: none starts a job that was just ended.
for file in "$units"/central-data-platform-*.timer "$units"/central-data-platform-*.service; do
  if [ ! -e "$file" ] || ! grep -qxF "# srv: $srv" "$file"; then continue; fi
  name=${file##*/}
  case $name in
    *.timer) systemctl --quiet disable --now "$name" ;;
    *) systemctl stop "$name" ;;
  esac
  rm "$file"
done
systemctl daemon-reload
