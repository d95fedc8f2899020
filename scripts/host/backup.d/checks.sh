# shellcheck shell=sh
# shellcheck disable=SC2154 # $why and $answer are status.d/common.sh's
# What status.sh says of the backups, by the functions of status.d/common.sh.
#
# An age is an alarm only where a timer keeps it low; elsewhere somebody makes the backups, and is reminded.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
UNITS=/etc/systemd/system

# What `record` has written: $last and $last_detail of the last run, $good (unix seconds) and $good_detail of the last good one.
look() { # NAME
  last='' last_detail='' good='' good_detail=''
  { IFS=$(printf '\t') read -r last _ last_detail <"$backups/state/$1"; } 2>/dev/null || :
  { IFS=$(printf '\t') read -r _ good good_detail <"$backups/state/$1.good"; } 2>/dev/null || :
}

job() { # CHECK STATE LIMIT UNIT MAKE-TARGET FAILED: how bad it is that the last run failed while there is a good one in time
  look "$2"
  if [ -e "$UNITS/central-data-platform-$4.timer" ]; then
    late=fail remedy="see journalctl -u central-data-platform-$4"
  else
    late=warn remedy="no timer here: run make $5"
  fi
  if [ -z "$good" ]; then
    young=$(seconds_since "$(date -r "$srv/.central-data-platform" +%s)")
    [ "$young" -gt "$3" ] || late=warn
    if [ "$last" = fail ]; then
      check "$1" fail "none has succeeded yet, and the last run failed: $last_detail"
    else
      check "$1" "$late" "none has been made yet; $remedy"
    fi
    return
  fi
  old=$(seconds_since "$good") since=$(date -u -d "@$good" +%Y-%m-%dT%H:%M:%SZ)
  if [ "$old" -lt -60 ]; then
    check "$1" warn "the last good one lies ahead of the clock ($since), so nobody knows its age; set the clock, then make a new one" "$since"
  elif [ "$old" -gt "$3" ]; then
    [ "$last" = ok ] || late=fail remedy="the last run failed: $last_detail"
    check "$1" "$late" "the last good one is $(age "$old") old, more than $(age "$3"); $remedy" "$since"
  elif [ "$last" = fail ]; then
    check "$1" "$6" "the last run failed: $last_detail; the last good one is $(age "$old") old" "$since"
  else
    check "$1" ok "$(age "$old") old: $good_detail" "$since"
  fi
}

# What a record says is there must be there.
kept() { # FOLDER CHECK
  look "$2"
  [ -n "$good" ] || return 0
  for run in "$backups/$1"/[0-9]*; do [ ! -d "$run" ] || return 0; done
  return 1
}

copies() { # CHECK FOLDER STATE
  if kept "$2" "$3"; then
    job "$1" "$3" $((BACKUP_MAX_AGE_HOURS * HOUR)) backup backup warn
  else
    check "$1" fail "there is none in $backups/$2 although the last run made one; somebody has removed them: run sudo $apps/backup.sh"
  fi
}

# Before the slot is lost: PostgreSQL drops what the receiver has not fetched beyond max_slot_wal_keep_size.
receiver() {
  if ! runs postgres-db; then
    unknown "$why" wal
    return
  fi
  if ! sql <<'END'
SELECT s.active, coalesce(s.wal_status, 'lost'), coalesce(extract(epoch FROM now() - s.inactive_since)::bigint, 0),
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint, 0), k.setting::bigint * 1024 * 1024
FROM pg_replication_slots s, pg_settings k WHERE s.slot_name = 'postgres_wal' AND k.name = 'max_slot_wal_keep_size';
END
  then
    unknown "PostgreSQL does not answer" wal
    return
  fi
  slot=$answer
  IFS='|' read -r active status idle behind limit <<END
$slot
END
  look wal
  percent=0 share=
  if [ "${limit:-0}" -gt 0 ]; then
    percent=$((behind * 100 / limit))
    share=", $percent% of the $(numfmt --to=iec "$limit") that are kept for it"
  fi
  lag="$(numfmt --to=iec "${behind:-0}") behind$share"
  state=ok
  [ "$percent" -lt 50 ] || state=warn
  [ "$percent" -lt 80 ] || state=fail
  if [ -z "$slot" ]; then
    check wal fail "PostgreSQL has no slot postgres_wal and keeps no WAL for the receiver; run make up"
  elif [ "$status" = lost ] || [ "$status" = unreserved ]; then
    check wal fail "slot postgres_wal is $status: WAL is missing between the base backups and now; run make up, then make backup"
  elif ! runs postgres-wal; then
    check wal fail "container postgres-wal does not run ($lag); run docker start postgres-wal, or make up"
  elif [ "$active" = t ]; then
    if [ "$last" = fail ]; then
      [ "$state" = fail ] || state=warn
      [ -n "$good" ] && [ "$(seconds_since "$good")" -le "$WAL_MAX_AGE_SECONDS" ] || state=fail
      lag="$lag; what comes after failed: $last_detail"
    fi
    check wal "$state" "streaming, $lag"
  else
    [ "$state" = fail ] || state=warn
    [ "$idle" -le "$WAL_MAX_AGE_SECONDS" ] || state=fail
    check wal "$state" "the receiver has not been connected for $(age "$idle") ($lag); see docker logs postgres-wal"
  fi
}

if [ -e "$srv/data/.postgres-swap" ]; then
  check recovery fail "a swap of PostgreSQL's data is at work or was cut off; where nobody waits for it: sudo $apps/pitr.sh settle"
fi
copies backup dumps dumps
copies base-backup base base
receiver
if [ -n "${OFFSITE:-}" ]; then
  job offsite-dumps offsite-dumps $((BACKUP_MAX_AGE_HOURS * HOUR)) backup backup warn
  job offsite-wal offsite-wal "$WAL_MAX_AGE_SECONDS" wal backup warn
fi
job drill drill $((DRILL_MAX_AGE_DAYS * DAY)) drill drill fail
look alerts
[ "$last" != fail ] || check alerts warn "$last_detail; run sudo $apps/alert.sh test"
