#!/bin/sh
# wal.sh [anew | segments FOLDER TIMELINE FIRST]: looks after the WAL that container postgres-wal receives into backups/wal.
#
#   (nothing)  each minute by a timer: gzips whole segments, checks slot and receiver, sends off-site. A lost slot is made
#              again, and a full base backup follows, since the WAL has a gap.
#   anew       lets the receiver begin at the slot: for a lost slot, and for a server that is on another timeline
#   segments   names the segments from FIRST on without a gap, for that timeline; a last line "missing NAME" says that others
#              follow the gap
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/common.sh"
wal=$backups/wal
# What the receiver must not go on from, but recovery may need: it looks for its start by the names in its own folder.
past=$wal/past

usage() {
  echo "usage: $0 [anew | segments FOLDER TIMELINE FIRST]" >&2
  exit 2
}

# --- files ---

# pg_receivewal takes NAME.gz for a whole segment when its last four bytes say so, which gzip writes. Joined by &&: where a
# function's result is asked for, sh does not stop at a fault (a full disk), and the good segment would go.
compress() {
  rm -f "$wal"/*.gz.new "$past"/*.gz.new
  for segment in "$wal"/* "$past"/*; do
    name=${segment##*/}
    case $name in *[!0-9A-F]*) continue ;; esac
    [ "${#name}" = 24 ] && [ -f "$segment" ] || continue
    if ! { gzip --fast --no-name <"$segment" >"$segment.gz.new" && gzip --test <"$segment.gz.new" &&
      chown --reference="$segment" "$segment.gz.new" && touch --reference="$segment" "$segment.gz.new" && sync "$segment.gz.new" &&
      mv -f "$segment.gz.new" "$segment.gz" && sync "$(dirname "$segment")" && rm -f "$segment"; }; then
      rm -f "$segment.gz.new"
      return 1
    fi
  done
}

# A timeline's segments go as far as the next one's beginning in its history, whose lines are: timeline, LSN, reason.
segments() { # FOLDER TIMELINE FIRST
  history=$1/$(printf '%08X' "$2").history
  {
    if [ -f "$history" ]; then awk '$1 ~ /^[0-9]+$/ { print "end", $1, $2 }' "$history"; fi
    echo "end $2 FFFFFFFF/FFFFFFFF"
    for file in "$1"/* "$1"/past/*; do
      file=${file##*/}
      file=${file%.gz}
      echo "file ${file%.partial}"
    done
  } | LC_ALL=C awk -v first="$3" '
    function number(hex, i, n) {
      for (i = 1; i <= length(hex); i++) n = n * 16 + index("0123456789ABCDEF", substr(hex, i, 1)) - 1
      return n
    }
    function place(name) { return number(substr(name, 9, 8)) * 256 + number(substr(name, 17)) }
    # The segment of 16 MiB where this LSN is.
    function place_of(lsn, half) { split(lsn, half, "/"); return number(half[1]) * 256 + int(number(half[2]) / 16777216) }
    $1 == "end" { last[$2 + 0] = place_of($3); next }
    length($2) != 24 || $2 ~ /[^0-9A-F]/ { next }
    {
      timeline = number(substr($2, 1, 8)); n = place($2)
      if (!(timeline in last) || n > last[timeline] || n < place(first)) next
      # The newest timeline that has it, as PostgreSQL does.
      if (!(n in name) || $2 "" > name[n] "") name[n] = $2
      if (n > newest) newest = n
    }
    END {
      for (n = place(first); n in name; n++) print name[n]
      if (n == place(first) && !(newest in name)) print "missing " first
      else if (n <= newest) print "missing " sprintf("%s%08X%08X", substr(name[newest], 1, 8), int(n / 256), n % 256)
    }'
}

# --- slot and receiver ---

# wal_status, whether it is read from, bytes behind, percent of the room for WAL that is left.
slot() {
  psql_in postgres --field-separator=' ' <<'SQL'
SELECT coalesce(wal_status, 'missing'), coalesce(active, false),
  coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), coalesce(write_lsn, restart_lsn)), 0)::bigint,
  CASE WHEN safe_wal_size IS NULL THEN 100 ELSE safe_wal_size * 100 / greatest(pg_size_bytes(current_setting('max_slot_wal_keep_size')), 1) END
FROM (VALUES ('postgres_wal')) AS wanted (name)
  LEFT JOIN pg_replication_slots ON slot_name = name LEFT JOIN pg_stat_replication ON pid = active_pid;
SQL
}

begin_anew() {
  docker stop --time 30 postgres-wal >/dev/null || fail "container postgres-wal cannot be stopped; is it there? (run pulumi up)"
  mkdir -p "$past"
  chown 999:999 "$past"
  for file in "$wal"/[0-9A-F]*; do
    case $file in *.history | "$wal/[0-9A-F]*") ;; *) mv -f "$file" "$past/" ;; esac
  done
  sync "$wal" "$past"
  psql_in postgres <<'SQL'
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'postgres_wal' AND wal_status = 'lost' \g /dev/null
SELECT pg_create_physical_replication_slot('postgres_wal', true)
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'postgres_wal') \g /dev/null
SQL
  docker start postgres-wal >/dev/null
}

# Sets state, active, behind and room. A receiver that was cut off comes back by itself, every 5 seconds.
look() {
  for _ in 1 2 3 4 5 6 7 8; do
    found=$(slot) || fail "WAL is not checked: postgres-db does not answer (docker logs postgres-db)"
    read -r state active behind room <<FOUND
$found
FOUND
    case "$state $active" in lost* | missing* | *' t') return ;; esac
    sleep 2
  done
}

judge() {
  look
  case $state in
    lost | missing)
      say "the slot postgres_wal is $state: it is made again, and a full base backup follows"
      begin_anew
      healed=yes
      look
      ;;
  esac
  if [ "$active" != t ]; then
    docker start postgres-wal >/dev/null 2>&1 || :
    look
  fi
  [ "$active" = t ] ||
    fail "nobody receives WAL: $(docker logs --tail 1 postgres-wal 2>&1 || :); when it cannot go on by itself: sudo $0 anew"
  [ "$room" -ge 50 ] ||
    fail "the receiver is $behind bytes behind and $room% of the room for WAL are left (max_slot_wal_keep_size); at 0% the slot is lost (docker logs postgres-wal)"
  detail="receiver streams, $behind bytes behind"
}

case ${1:-} in
  segments)
    [ $# -eq 4 ] || usage
    segments "$2" "$3" "$4"
    exit
    ;;
  '' | anew) [ $# -le 1 ] || usage ;;
  *) usage ;;
esac

mkdir -p "$locks"
exec 9>"$locks/wal"
flock --timeout 60 9 || fail "another wal.sh is running (lock $locks/wal); wait until it has ended"
if [ "${1:-}" = anew ]; then
  begin_anew
  exit
fi

# Whoever was cut off while data changed places has left the platform down.
[ ! -e "$srv/data/.postgres-swap" ] || "$apps/pitr.sh" settle 9>&- || :
for service in postgres redis; do
  for left in "$srv/data/.$service-exchange" "$srv/data/.$service-upgrade-stopped"; do
    [ ! -e "$left" ] || "$apps/upgrade-$service.sh" settle 9>&- || :
  done
done
for left in "$srv"/data/redis_before_*/.unproven; do
  [ ! -e "$left" ] || flock --nonblock "$locks/dumps" sh "$apps/restore-redis.sh" --clean-up "${left%/.unproven}" 9>&- || :
done

healed=
why='it was cut off'
fail() {
  why=$1
  echo "$1" >&2
  exit 1
}
# Whatever has failed, what there is still leaves.
leave() {
  code=$?
  [ "$code" = 0 ] || record wal fail "$why"
  exec 9>&-
  if [ -n "$OFFSITE" ]; then "$apps/offsite.sh" wal || code=1; fi
  if [ -n "$healed" ]; then "$apps/backup.d/base.sh" full || code=1; fi
  exit "$code"
}
trap leave EXIT
trap 'OFFSITE="" healed=""; exit 130' HUP INT TERM
compress || fail "segments in $wal cannot be gzipped (the lines above say why)"
judge
# A new platform does not wait a day for its first one.
[ -e "$backups/state/base" ] || healed=yes
record wal ok "$detail"
