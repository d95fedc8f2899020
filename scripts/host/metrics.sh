#!/bin/sh
# metrics.sh: what monitoring is told of the platform itself: backups, drills, certificates, waivers, disks, dead rows and the checks
# of status.sh, as a file for node-exporter (its README, "Textfile Collector"). A timer runs it each minute. Nothing in it is secret.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
folder=$srv/run/metrics
HOUR=3600 DAY=86400 STATUS_SECONDS=60

metric() { # NAME HELP: what the lines that follow mean
  printf '# HELP platform_%s %s\n# TYPE platform_%s gauge\n' "$1" "$2" "$1"
}

# As the text format wants a label's value (a backslash, a quotation mark).
label() {
  printf '%s' "$1" | LC_ALL=C tr -d '\000-\037\177' | sed 's/\\/\\\\/g; s/"/\\"/g'
}

# What `record` has written of a task.
tasks() { # NAME HELP COMMAND: which prints a value for $task, or nothing
  metric "$1" "$2"
  for task in dumps base drill wal offsite-dumps offsite-wal; do
    value=$("$3" "$task") || continue
    [ -z "$value" ] || echo "platform_$1{task=\"$task\"} $value"
  done
}

good_time() { cut -f 2 "$backups/state/$1.good" 2>/dev/null; }

failed() {
  case $(cut -f 1 "$backups/state/$1" 2>/dev/null) in
    fail) echo 1 ;;
    ok) echo 0 ;;
  esac
}

limit() {
  case $1 in
    dumps | base) echo $((BACKUP_MAX_AGE_HOURS * HOUR)) ;;
    offsite-dumps) [ -z "${OFFSITE:-}" ] || echo $((BACKUP_MAX_AGE_HOURS * HOUR)) ;;
    offsite-wal) [ -z "${OFFSITE:-}" ] || echo "$WAL_MAX_AGE_SECONDS" ;;
    drill) echo $((DRILL_MAX_AGE_DAYS * DAY)) ;;
  esac
}

certificates() {
  metric certificate_end_timestamp_seconds "When a certificate ends."
  command -v openssl >/dev/null || return 0
  for file in "$srv"/config/*/tls/server.crt "$srv/config/tls/ca.crt"; do
    end=$(openssl x509 -enddate -noout -in "$file" 2>/dev/null) || continue
    name=${file#"$srv/config/"}
    case $name in
      tls/ca.crt) name=ca ;;
      *) name=${name%/tls/server.crt} ;;
    esac
    echo "platform_certificate_end_timestamp_seconds{name=\"$name\"} $(date -u -d "${end#notAfter=}" +%s)"
  done
}

waivers() {
  metric waiver_end_timestamp_seconds "When the leave for an application's weak password ends."
  [ -f "$srv/config/waivers.tsv" ] || return 0
  { grep -v '^#' "$srv/config/waivers.tsv" || :; } | while IFS=$tab read -r application until _; do
    # The day itself is the last one.
    echo "platform_waiver_end_timestamp_seconds{application=\"$(label "$application")\"} $(($(date -u -d "$until" +%s) + DAY))"
  done
}

disks() {
  metric filesystem_size_bytes "Size of a file system of the host."
  df --output=size,target --block-size=1 / "$srv" | sed 1d | sort -u | while read -r size target; do
    echo "platform_filesystem_size_bytes{mountpoint=\"$(label "$target")\"} $size"
  done
  metric filesystem_free_bytes "What of it may still be written."
  df --output=avail,target --block-size=1 / "$srv" | sed 1d | sort -u | while read -r free target; do
    echo "platform_filesystem_free_bytes{mountpoint=\"$(label "$target")\"} $free"
  done
}

# The exporter sees the tables of one database alone. Names are those that the settings allow.
rows() {
  names=$(
    psql_in postgres 2>/dev/null <<'END'
SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname ~ '^[A-Za-z0-9_-]+$' ORDER BY 1;
END
  ) || return 0
  # As the same user: a connection string alone would be the system's.
  found=$(for name in $names; do
    cat <<END
\\connect -reuse-previous=on "dbname='$name'"
SELECT '$name', coalesce(sum(n_live_tup), 0), coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables;
END
  done | psql_in postgres 2>/dev/null) || return 0
  metric database_live_rows "Rows of a database's tables, as PostgreSQL estimates them."
  printf '%s\n' "$found" | awk -F '|' '{ printf "platform_database_live_rows{datname=\"%s\"} %s\n", $1, $2 }'
  metric database_dead_rows "Rows that are dead and take room until a vacuum."
  printf '%s\n' "$found" | awk -F '|' '{ printf "platform_database_dead_rows{datname=\"%s\"} %s\n", $1, $3 }'
}

# 0 ok, 1 warn, 2 fail, 3 unknown.
states() {
  metric check_state "A check of status.sh: 0 ok, 1 warn, 2 fail, 3 unknown."
  { timeout "$STATUS_SECONDS" sh "$apps/status.sh" --json 2>/dev/null 9>&- || :; } |
    sed -n 's/^ *{"name": "\([A-Za-z0-9_.-]*\)", "state": "\([a-z]*\)".*/\1 \2/p' | sort -u -k 1,1 |
    while read -r name state; do
      case $state in ok) value=0 ;; warn) value=1 ;; fail) value=2 ;; *) value=3 ;; esac
      echo "platform_check_state{name=\"$name\"} $value"
    done
}

all() {
  metric timer "1 where a timer writes these metrics each minute."
  if [ -e /etc/systemd/system/central-data-platform-metrics.timer ]; then echo "platform_timer 1"; else echo "platform_timer 0"; fi
  tasks task_good_timestamp_seconds "When a task last did well." good_time
  tasks task_failed "1 where a task's last run failed." failed
  tasks task_limit_seconds "How old its last good run may be." limit
  certificates
  waivers
  disks
  rows
  states
}

[ -d "$folder" ] || fail "$folder is missing; set monitoring.enabled, then run pulumi up"
lock metrics
# node-exporter's user reads it: all of the file, or the one before.
trap 'rm -f "$folder/platform.prom.new"' EXIT
trap 'exit 1' HUP INT TERM
all >"$folder/platform.prom.new"
chmod 0644 "$folder/platform.prom.new"
mv -f "$folder/platform.prom.new" "$folder/platform.prom"
