# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# When `make drift` last looked, and what it found: it leaves a line here, as backup.d/common.sh's `record` writes it.
group=Machine

# Root's alone, as all that is about backups.
if [ "$(id -u)" != 0 ]; then
  unknown "only root can see when it was looked at; run: sudo $apps/status.sh" drift
  return
fi
record=$srv/backups/state/drift
if [ ! -r "$record" ]; then
  check drift ok "make drift has not looked yet"
  return
fi
IFS=$tab read -r found at detail <"$record"
when="looked at $(age "$(seconds_since "$at")") ago"
since=$(date -u -d "@$at" +%Y-%m-%dT%H:%M:%SZ)
if [ "$found" = ok ]; then
  check drift ok "$when: $detail" "$since"
else
  check drift warn "$when: $detail; make drift shows what, and looks again" "$since"
fi
