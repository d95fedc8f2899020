#!/bin/sh
# status.sh [--json]: is the platform well? Exits with 1 when something needs a person.
#
# JSON: {schema: 1, generated, checks: [{name, state: ok|warn|fail|unknown, detail, since}]}
set -eu
cd "$(dirname "$0")/.."
srv=$PWD
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
tab=$(printf '\t')

# One line a check: name, state, detail, since.
check() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:-}"
}

container() {
  if ! facts=$(docker container inspect --format \
    '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}} {{.State.StartedAt}} {{.Config.Image}}' "$1" 2>/dev/null); then
    check "$1" fail "no such container; run make up, or docker compose up -d in $srv/apps/postgres-stack"
    return
  fi
  # shellcheck disable=SC2086 # split into words on purpose
  set -- "$1" $facts
  detail="$2, $3, restarted $4 times, image $6"
  case "$2 $3" in
    "running healthy") check "$1" ok "$detail" "$5" ;;
    "running starting") check "$1" warn "$detail" "$5" ;;
    *) check "$1" fail "$detail" "$5" ;;
  esac
}

# Only on a machine that has a volume for this tree.
data_volume() {
  # As attach-data.sh writes it: a blank ends a field.
  where=$(printf '%s' "$srv" | sed 's/\\/\\134/g; s/ /\\040/g; s/\t/\\011/g')
  wanted=$(WHERE=$where awk '$2 == ENVIRON["WHERE"] && sub(/^UUID=/, "", $1) { print $1 }' /etc/fstab 2>/dev/null) || return 0
  [ -n "$wanted" ] || return 0
  if [ "$(findmnt --noheadings --output UUID --mountpoint "$srv" 2>/dev/null)" = "$wanted" ]; then
    check data-volume ok "mounted at $srv, UUID $wanted"
  else
    check data-volume fail "the volume of /etc/fstab (UUID $wanted) is not mounted at $srv; attach it, then: systemctl start docker"
  fi
}

# Only on a machine that attach-data.sh has prepared.
machine_services() {
  [ -e /etc/systemd/system/docker.service.d/50-data-volume.conf ] || return 0
  missing=
  for unit in docker.service firewalld.service chronyd.service dnf-automatic.timer; do
    systemctl --quiet is-enabled "$unit" 2>/dev/null && systemctl --quiet is-active "$unit" || missing="$missing $unit"
  done
  if [ -z "$missing" ]; then
    check machine ok "its services run, now and after a reboot"
  else
    check machine fail "not running, or not after a reboot:$missing; systemctl enable --now$missing"
  fi
}

certificate() { # NAME FILE
  if ! end=$(openssl x509 -enddate -noout -in "$2" 2>/dev/null); then
    check "$1" fail "$2 cannot be read as a certificate; run make up"
  elif ! openssl x509 -checkend 604800 -noout -in "$2" >/dev/null; then
    check "$1" fail "$2 has ended, or ends within 7 days (${end#notAfter=}); run make up"
  elif ! openssl x509 -checkend 2592000 -noout -in "$2" >/dev/null; then
    check "$1" warn "$2 ends within 30 days (${end#notAfter=}); run make up"
  else
    check "$1" ok "valid until ${end#notAfter=}"
  fi
}

certificates() {
  command -v openssl >/dev/null || return 0
  for file in "$srv"/config/*/tls/server.crt "$srv/config/tls/ca.crt"; do
    [ -e "$file" ] || continue
    name=${file#"$srv/config/"}
    case $name in
      tls/ca.crt) certificate tls-ca "$file" ;;
      *) certificate "tls-${name%%/*}" "$file" ;;
    esac
  done
}

# A weak password that is put up with is never fine.
waivers() {
  [ -f "$srv/config/waivers.tsv" ] || return 0
  grep -v '^#' "$srv/config/waivers.tsv" | while IFS=$tab read -r application until reason; do
    if [ "$(date -u +%Y%m%d)" -gt "$(echo "$until" | tr -d -)" ]; then
      check "waiver-$application" fail "its leave for a weak password ended on $until ($reason); set a strong one"
    else
      check "waiver-$application" warn "weak password until $until: $reason"
    fi
  done
}

# Where backups are set up: their own file knows them.
backups() {
  [ -f "$srv/apps/backup.d/checks.sh" ] && [ -f "$srv/config/backup/backup.env" ] || return 0
  # shellcheck source=/dev/null
  (. "$srv/apps/backup.d/checks.sh") || check backups fail "nothing is known of the backups (the line above says why)"
}

checks() {
  if ! docker version >/dev/null 2>&1; then
    check docker fail "the Docker engine does not answer; start it (systemctl start docker)"
    for name in postgres-db redis-cache pgbouncer; do check "$name" unknown "Docker does not answer"; done
  else
    check docker ok "version $(docker version --format '{{.Server.Version}}')"
    for name in postgres-db redis-cache pgbouncer; do container "$name"; done
  fi
  if [ "$(stat -c %a:%u "$srv/config/platform.env" 2>/dev/null)" = 600:0 ]; then
    check secrets ok "$srv/config/platform.env is root's, mode 600"
  else
    check secrets fail "$srv/config/platform.env is missing, or not root's with mode 600; run pulumi up --refresh"
  fi
  used=$(df -P "$srv" | awk 'NR == 2 { sub("%", "", $5); print $5 }')
  free=$(df -Ph "$srv" | awk 'NR == 2 { print $4 }')
  # shellcheck source=/dev/null
  mark=$( (. "$srv/config/backup/backup.env" && echo "$DISK_MARK") 2>/dev/null || echo 85)
  if [ "$used" -ge 95 ]; then
    state=fail
  elif [ "$used" -ge "$mark" ]; then
    state=warn
  else
    state=ok
  fi
  check disk "$state" "$used% of $srv used, $free free"
  data_volume
  machine_services
  certificates
  waivers
  backups
}

json_text() {
  printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'
}

as_json() {
  printf '{"schema": 1, "generated": "%s", "checks": [' "$now"
  separator=
  while IFS=$tab read -r name state detail since; do
    if [ -n "$since" ]; then since="\"$(json_text "$since")\""; else since=null; fi
    printf '%s\n  {"name": "%s", "state": "%s", "detail": "%s", "since": %s}' \
      "$separator" "$name" "$state" "$(json_text "$detail")" "$since"
    separator=,
  done
  printf '\n]}\n'
}

as_table() {
  while IFS=$tab read -r name state detail since; do
    printf '%-18s %-8s %s%s\n' "$name" "$state" "$detail" "${since:+, since $since}"
  done
}

found=$(checks)
case ${1:-} in
  --json) printf '%s\n' "$found" | as_json ;;
  '') printf '%s\n' "$found" | as_table ;;
  *)
    echo "usage: $0 [--json]" >&2
    exit 2
    ;;
esac
! printf '%s\n' "$found" | grep -q "${tab}fail${tab}\|${tab}unknown${tab}"
