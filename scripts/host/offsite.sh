#!/bin/sh
# offsite.sh: the copy away from this machine, encrypted before it leaves (restic).
#
#   push                        finished dumps, base backups and WAL; then what is too old goes, and a part is read back
#   wal                         only WAL, quickly: once a minute
#   status                      what is there
#   check                       read all of it back and check it
#   restore dumps FOLDER [RUN]  one run of dumps (the newest) into FOLDER/RUN
#   restore wal FOLDER [CLUSTER]
#                               base backups and WAL into FOLDER/base and FOLDER/wal; of which cluster, where there are several
#   restore newest FOLDER [CLUSTER]
#                               of those, only the newest base backup, what it builds on, and the WAL since
#   unlock                      remove locks whose owner is gone (push and wal do that by themselves)
#
# Dumps and WAL have a repository each, since cleaning one up locks it. A snapshot is there as a whole or not at all, so a run
# that is cut off leaves nothing but data that the next run uses or removes. Each snapshot carries the cluster that it is of (as
# restic's host): a new machine under the same name neither hides what the lost one has sent nor makes it go sooner.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"

usage() {
  echo "usage: $0 push|wal|status|check|restore dumps FOLDER [RUN]|restore wal|newest FOLDER [CLUSTER]|unlock" >&2
  exit 2
}

case ${1:-}:$#:${2:-} in
  push:1: | wal:1: | status:1: | check:1: | unlock:1: | restore:[34]:dumps | restore:[34]:wal | restore:[34]:newest) ;;
  *) usage ;;
esac
[ -n "$OFFSITE" ] || fail "no off-site store is set; set central-data-platform:backups.offsite, then pulumi up"
command -v restic >/dev/null || fail "restic is missing; install it, or run pulumi up, which does"
key=$srv/config/backup/key
[ -s "$key" ] || fail "$key, with which the off-site copy is encrypted, is missing; run pulumi up, or put its recovery copy there"
export RESTIC_PASSWORD_FILE="$key"
# Without it each run reads all that was ever noted: 190 requests in place of 14 after 80 runs. What is in it is encrypted too.
export RESTIC_CACHE_DIR="$srv/run/restic"
[ ! -s "$srv/config/backup/s3-credentials" ] || export AWS_SHARED_CREDENTIALS_FILE="$srv/config/backup/s3-credentials"
# A day begins for restic where it begins in the names of runs.
export TZ=UTC
# An outage is said within the minute, and nothing but errors.
export RCLONE_LOW_LEVEL_RETRIES=3 RCLONE_CONTIMEOUT=15s RCLONE_LOG_LEVEL=ERROR
QUICK=60 MINUTES=240 HOURS=72000
# Repositories that were there once: one that has vanished is no reason to begin a new one in silence.
known=$backups/state/offsite-repositories

# Descriptors of our locks stay open in restic on purpose: as long as it works, nobody else begins, even when we were killed.
in_repository() { # dumps|wal SECONDS RESTIC-ARGUMENT...
  repository=$OFFSITE/$1 limit=$2
  shift 2
  timeout --foreground --signal=INT --kill-after=30 "$limit" restic --repo "$repository" --quiet "$@"
}

# The same, its words in $said. Waits for whoever else works in the repository, which old versions cannot by themselves.
patiently() { # dumps|wal SECONDS RESTIC-ARGUMENT...
  for pause in $patience 0; do
    code=0
    said=$(in_repository "$@" 2>&1) || code=$?
    case $code:$said in
      11:* | [1-9]*"already locked"*) ;;
      *) return "$code" ;;
    esac
    # Only those whose process is gone, or that nobody has renewed for half an hour.
    in_repository "$1" "$QUICK" unlock >/dev/null 2>&1 || :
    sleep "$pause"
  done
  return "$code"
}
patience="1 30 60 120 300"

last_line() {
  printf '%s\n' "$said" | grep -v '^$' | tail -n 1
}

refused() {
  case $said in
    *"Access Denied"* | *AccessDenied* | *SignatureDoesNotMatch* | *InvalidAccessKeyId* | *"403 Forbidden"* | *NotAuthenticated*) ;;
    *) return 1 ;;
  esac
}

# $found: yes, none (the store answers, and nothing is there), key, credentials or nothing (not reachable).
find_repository() { # dumps|wal
  code=0
  said=$(in_repository "$1" "$QUICK" --no-lock cat config 2>&1) || code=$?
  case $code:$said in
    0:*) found=yes ;;
    12:* | *"wrong password or no key found"*) found=key ;;
    10:* | *"config file"*"does not exist"* | *"config: no such file or directory"*) found=none ;;
    *) found=nothing ;;
  esac
  # Through rclone, a store that cannot be reached looks like an empty one, so it is asked itself. 3: there is no such folder.
  case $found:$OFFSITE in
    none:rclone:*)
      code=0
      said=$(timeout --foreground --kill-after=30 "$QUICK" rclone lsf "${OFFSITE#rclone:}/$1" 2>&1) || code=$?
      case $code:$said in 0:*config* | [!03]*) found=nothing ;; esac
      ;;
  esac
  [ $found != nothing ] || ! refused || found=credentials
}

# A sentence on what find_repository has found, beside `yes`.
trouble_of() { # dumps|wal
  case $found in
    none) echo "there is no repository in $OFFSITE/$1 yet; run sudo $apps/offsite.sh push" ;;
    key) echo "the key in $key does not open $OFFSITE/$1; put the recovery copy of the right key there (central-data-platform:backupKey)" ;;
    credentials) echo "the store refuses the credentials for $OFFSITE/$1 ($(last_line)); correct them, then pulumi up" ;;
    nothing) echo "the off-site store $OFFSITE/$1 cannot be reached ($(printf '%s\n' "$said" | grep -m 1 . || echo "no answer within $QUICK s")); nothing is lost, the next run catches up" ;;
  esac
}

# The repository is there and opens; one that was never there is made.
prepare() { # dumps|wal
  find_repository "$1"
  case $found in
    yes) ;;
    none)
      if grep -qsxF -- "$OFFSITE/$1" "$known"; then
        trouble="the repository $OFFSITE/$1 was there and is gone; find out who removed it; to begin a new one, remove $known"
        return 1
      fi
      patiently "$1" "$MINUTES" init || {
        trouble="no repository could be made in $OFFSITE/$1: $(last_line)"
        return 1
      }
      ;;
    *)
      trouble=$(trouble_of "$1")
      return 1
      ;;
  esac
  grep -qsxF -- "$OFFSITE/$1" "$known" || {
    mkdir -p "$backups/state"
    echo "$OFFSITE/$1" >>"$known"
  }
}

failed() { # WHAT
  trouble="$1: $(last_line)"
  return 1
}

# Sets $source: this stack's cluster, by what PostgreSQL calls it; where that is down, by what it was the last time.
find_source() {
  if cluster=$(echo 'SELECT system_identifier FROM pg_control_system();' | psql_in postgres 2>/dev/null) && [ -n "$cluster" ]; then
    [ "$(cat "$backups/state/cluster" 2>/dev/null)" = "$cluster" ] || echo "$cluster" >"$backups/state/cluster"
  else
    cluster=$(cat "$backups/state/cluster" 2>/dev/null) || fail "postgres-db does not answer, so nobody knows of which cluster the backups are (docker logs postgres-db)"
  fi
  source=$STACK-$cluster
}

runs_here() {
  for folder in "$backups"/dumps/*; do basename "$folder"; done | grep -x '[0-9]\{8\}T[0-9]\{6\}Z' || :
}

# $there: a run a line, the newest last. Each is known by its tag.
list_runs() {
  patiently dumps "$MINUTES" snapshots --json || return
  there=$(printf '%s' "$said" | tr '{' '\n' | sed -n 's/.*"tags":\["\([0-9]\{8\}T[0-9]\{6\}Z\)"\].*/\1/p' | sort -u)
}

# --- push and wal ---

push_run() { # RUN: a snapshot of its own, with the time of the run, so that it is kept and removed as the run itself is
  time=$(printf '%s' "$1" | sed 's/\(....\)\(..\)\(..\)T\(..\)\(..\)\(..\)Z/\1-\2-\3 \4:\5:\6/')
  patiently dumps "$HOURS" backup --host "$source" --tag "$1" --time "$time" "$1" && return
  [ "$code" = 3 ] || return
  forget_newest dumps "$1"
  return 1
}

# A file of it could not be read, and without that it is no backup.
forget_newest() { # dumps|wal TAG
  why=$said
  patiently "$1" "$MINUTES" snapshots --json --host "$source" --tag "$2" || :
  id=$(printf '%s' "$said" | tr '{' '\n' | sed -n 's/.*"time":"\([^"]*\)".*"short_id":"\([0-9a-f]*\)".*/\1 \2/p' | sort | tail -n 1 | cut -d ' ' -f 2)
  [ -z "$id" ] || patiently "$1" "$MINUTES" forget "$id" || :
  said=$why
}

push_dumps() {
  prepare dumps || return
  list_runs || failed "what is in $OFFSITE/dumps cannot be listed" || return
  cd "$backups/dumps" || return
  # The newest first: it is worth the most where there is no time for all.
  for run in $(runs_here | grep -vxF -e "$there" | sort -r); do
    push_run "$run" || failed "dumps/$run could not be pushed" || return
    pushed="$pushed $run"
  done
  # The policy of the dumps here; and what is kept here is kept there, or it would be pushed anew each day.
  set --
  for run in $(runs_here); do set -- "$@" --keep-tag "$run"; done
  patiently dumps "$HOURS" forget --group-by host --keep-last 1 --keep-daily "$KEEP_DAYS" --keep-weekly "$KEEP_WEEKS" --keep-monthly "$KEEP_MONTHS" "$@" --prune ||
    failed "old dumps in $OFFSITE/dumps could not be removed" || return
  # Another seventh each day.
  patiently dumps "$HOURS" check --read-data-subset "$(($(date +%s) / 86400 % 7 + 1))/7" || failed "$OFFSITE/dumps is damaged"
}

# Never before that of the last one: after a clock was set back, the newest would be forgotten, and an older one restored.
snapshot_time() { # base|wal
  time=$(date +%s) last=$(cat "$backups/state/offsite-time.$1" 2>/dev/null) || last=0
  [ "$time" -gt "$last" ] || time=$((last + 1))
  echo "$time" >"$backups/state/offsite-time.$1"
  date -u -d "@$time" '+%Y-%m-%d %H:%M:%S'
}

# Files come, go and are packed while they are read; then it is done again.
push_files() { # base|wal SECONDS
  mkdir -p "$backups/state"
  at=$(snapshot_time "$1")
  for _ in 1 2 3; do
    # Without what is not finished yet: a base backup's name begins with a dot, a segment's that is being packed ends with .new.
    patiently wal "$2" backup --host "$source" --tag "$1" --time "$at" --exclude "backups/$1/.*" --exclude "backups/$1/**/*.gz.new" "$1" && return
    [ "$code" = 3 ] || return
    forget_newest wal "$1"
  done
  return 1
}

# An empty folder would become the newest snapshot.
has_wal() {
  for file in "$backups"/wal/[0-9A-F]*; do [ ! -f "$file" ] || return 0; done
  said="$backups/wal is empty; is container postgres-wal running? (docker ps)"
  return 1
}

push_wal() {
  prepare wal || return
  cd "$backups" || return
  # For a large one this takes hours, in which `wal` goes on beside it.
  if [ -d base ]; then push_files base "$HOURS" || failed "base backups could not be pushed" || return; fi
  hold_wal 600 || failed "the WAL of this minute is still being pushed" || return
  has_wal || failed "WAL could not be pushed" || return
  push_files wal "$HOURS" || failed "WAL could not be pushed" || return
  exec 8>&-
  patiently wal "$HOURS" forget --group-by host --tag base --keep-last 1 --keep-daily "$WINDOW_DAYS" || failed "old base backups in $OFFSITE/wal could not be removed" || return
  # Little is packed anew at a time: meanwhile no WAL leaves.
  patiently wal "$HOURS" forget --group-by host --tag wal --keep-last 30 --keep-hourly 24 --keep-daily "$WINDOW_DAYS" --prune --max-repack-size 1G ||
    failed "old WAL in $OFFSITE/wal could not be removed" || return
  # Without a lock: WAL goes on leaving meanwhile.
  patiently wal "$HOURS" check --no-lock --read-data-subset 256M || failed "$OFFSITE/wal is damaged"
}

hold_wal() { # SECONDS
  mkdir -p "$locks"
  exec 8>"$locks/offsite-wal"
  flock --wait "$1" 8 || {
    said="lock $locks/offsite-wal is held"
    return 1
  }
}

push() {
  lock offsite
  find_source
  trouble='' pushed=''
  push_dumps || all=$trouble
  trouble=
  push_wal || all="${all:+$all; }$trouble"
  exec 8>&-
  if [ -n "${all:-}" ]; then
    record offsite-dumps fail "$all"
    say "off-site: $all"
    exit 1
  fi
  record offsite-dumps ok "all is off-site and checked, new:${pushed:- none}"
  record offsite-wal ok "pushed with the dumps"
  say "off-site: all is there and checked; new dumps:${pushed:- none}"
}

# $before: how the last run ended.
look_back() {
  before=$(cut -f 1 "$backups/state/offsite-wal" 2>/dev/null) || before=
}

# Said only when it changes: a network that is down for a day is not worth 1440 lines.
tell() { # ok|fail DETAIL
  record offsite-wal "$1" "$2"
  [ "$before" = "$1" ] || say "off-site WAL: $2"
}

wal() {
  hold_wal 45 || {
    echo "the WAL's repository is being cleaned up or checked; the next run goes on"
    return
  }
  patience="1 5 10" trouble=''
  cd "$backups" || exit
  look_back
  has_wal || {
    tell fail "$said"
    fail "$said"
  }
  find_source
  if [ "$before" = ok ]; then
    if push_files wal "$MINUTES"; then
      tell ok "up to $(date -u +%Y-%m-%dT%H:%M:%SZ)"
      return
    fi
    failed "WAL could not be pushed" || :
  fi
  # The first run of all, or after an outage: why is asked first, and much may have to be caught up.
  why=$trouble trouble=''
  if prepare wal; then
    if push_files wal "$HOURS"; then
      tell ok "up to $(date -u +%Y-%m-%dT%H:%M:%SZ), all is caught up"
      return
    fi
    [ -n "$why" ] || failed "WAL could not be pushed" || :
  fi
  tell fail "${trouble:-$why}"
  fail "${trouble:-$why}"
}

# --- for the operator ---

must_be_there() { # dumps|wal
  find_repository "$1"
  [ "$found" = yes ] || fail "$(trouble_of "$1")"
}

status() {
  for name in dumps wal; do
    must_be_there "$name"
    echo "$OFFSITE/$name:"
    if [ "$name" = dumps ]; then in_repository dumps "$MINUTES" snapshots --compact; else in_repository wal "$MINUTES" snapshots --compact --latest 1 --group-by host,tags; fi ||
      fail "$OFFSITE/$name cannot be listed (the lines above say why)"
  done
}

check() {
  lock offsite
  for name in dumps wal; do
    must_be_there "$name"
    [ "$name" = dumps ] || hold_wal 600 || fail "$said"
    patiently "$name" "$HOURS" check --read-data || fail "$OFFSITE/$name is damaged: $said"
    echo "$OFFSITE/$name: all of it was read, and it is in order"
  done
}

unlock() {
  for name in dumps wal; do
    must_be_there "$name"
    in_repository "$name" "$MINUTES" unlock || fail "$OFFSITE/$name could not be unlocked (the lines above say why)"
  done
}

fetch() { # dumps|wal TAG FOLDER [RESTIC-ARGUMENT...]
  name=$1 tag=$2 into=$3
  shift 3
  patiently "$name" "$MINUTES" stats --json --mode restore-size --tag "$tag" "$@" latest || fail "there is no $tag in $OFFSITE/$name: $(last_line)"
  need_space "$into" "$(printf '%s' "$said" | sed -n 's/.*"total_size":\([0-9]*\).*/\1/p')" "restoring $tag"
  bring "$name" "$tag" "$into" "$@"
}

bring() { # dumps|wal TAG FOLDER [RESTIC-ARGUMENT...]
  name=$1 tag=$2 into=$3
  shift 3
  patiently "$name" "$HOURS" restore --tag "$tag" "$@" --target "$into" --verify latest || fail "$tag could not be restored from $OFFSITE/$name: $(last_line)"
}

# The files of the newest snapshot: path, tab, bytes.
files_there() { # base|wal
  patiently wal "$MINUTES" ls --json --tag "$1" --host "$cluster" latest || return
  printf '%s\n' "$said" | sed -n 's/.*"type":"file","path":"\([^"]*\)".*"size":\([0-9]*\).*/\1\t\2/p'
}

# Sets folder/base and folder/wal. restic is told folders of base backups, and names of segments but for their last digit.
newest() { # FOLDER
  list=$1/.list bases=$1/base
  patiently wal "$MINUTES" snapshots --json --tag base --host "$cluster" || fail "what is in $OFFSITE/wal cannot be listed: $(last_line)"
  case $said in *'"hostname"'*) ;; *) fail "there is no base backup of $cluster in $OFFSITE/wal yet; run sudo $apps/offsite.sh push" ;; esac
  files_there base >"$list" || fail "the base backups of $cluster in $OFFSITE/wal cannot be listed: $(last_line)"
  bring wal base "$1" --host "$cluster" --include '/base/*/info'
  base=$(ids | tail -n 1)
  parts=$(chain "$base" | tr '\n' ' ')
  case " $parts" in *" $base "*) ;; *) fail "base backup ${base:-of $cluster} in $OFFSITE/wal builds on one that is not there" ;; esac
  for part in $parts; do set -- "$@" --include "/base/$part"; done
  files_there wal >>"$list" || fail "the WAL of $cluster in $OFFSITE/wal cannot be listed: $(last_line)"
  wanted=$(awk -F '\t' -v parts="$parts" -v first="$(value "$base" START_WAL)" '
    BEGIN { for (n = split(parts, part, " "); n; n--) base[part[n]] }
    { depth = split($1, word, "/"); name = word[depth] }
    word[2] == "base" { if (word[3] in base) bytes += $2; next }
    name ~ /^[0-9A-F]+([.]partial)?([.]gz)?$/ && substr(name, 9, 16) "" >= substr(first, 9) "" {
      bytes += $2
      prefix = substr($1, 1, length($1) - length(name) + 23)
      if (!(prefix in seen)) print prefix
      seen[prefix]
    }
    END { printf "%.0f\n", bytes }' "$list")
  rm "$list"
  need_space "$1" "$(echo "$wanted" | tail -n 1)" "restoring base backup $base"
  bring wal base "$@" --host "$cluster"
  set -- "$1" --include '/wal/*.history' --include '/wal/past/*.history' --include /wal/points.tsv
  for prefix in $(echo "$wanted" | sed '$d'); do set -- "$@" --include "$prefix*"; done
  bring wal wal "$@" --host "$cluster"
}

# $cluster: the one that is meant, or the only one that there is.
find_cluster() { # [CLUSTER]
  patiently wal "$MINUTES" snapshots --json --tag wal || fail "what is in $OFFSITE/wal cannot be listed: $(last_line)"
  cluster=$(printf '%s' "$said" | tr '{' '\n' | sed -n 's/.*"hostname":"\([^"]*\)".*/\1/p' | sort -u)
  if [ -n "$1" ]; then
    printf '%s\n' "$cluster" | grep -qxF -- "$1" || fail "there is no cluster $1 in $OFFSITE/wal; there is: $(echo "$cluster" | tr '\n' ' ')"
    cluster=$1
  fi
  [ "$(printf '%s\n' "$cluster" | wc -l)" = 1 ] ||
    fail "$OFFSITE/wal has the WAL of several clusters, the lost machine's and a new one's; say which at the end of the line: $(echo "$cluster" | tr '\n' ' ') (sudo $apps/offsite.sh status shows how new each is)"
}

restore() { # dumps|wal|newest FOLDER [RUN|CLUSTER]
  mkdir -p "$2"
  folder=$(CDPATH='' cd -- "$2" && pwd)
  [ -z "$(ls -A "$folder")" ] || fail "$folder is not empty; name another folder"
  if [ "$1" != dumps ]; then
    must_be_there wal
    find_cluster "${3:-}"
    if [ "$1" = newest ]; then
      newest "$folder"
    else
      fetch wal base "$folder" --host "$cluster"
      fetch wal wal "$folder" --host "$cluster"
    fi
    echo "$folder"
    return
  fi
  must_be_there dumps
  list_runs || fail "what is in $OFFSITE/dumps cannot be listed: $(last_line)"
  # One from the future, made while the clock was wrong, is taken only where there is no other, as on the host.
  run=${3:-$(printf '%s\n' "$there" | awk -v now="$(date -u +%Y%m%dT%H%M%SZ)" '!found || $0 "" <= now "" { found = $0 } END { print found }')}
  [ -n "$run" ] || fail "there is no run in $OFFSITE/dumps yet; run sudo $apps/offsite.sh push"
  printf '%s\n' "$there" | grep -qxF -- "$run" || fail "there is no run $run in $OFFSITE/dumps; sudo $apps/offsite.sh status lists them"
  fetch dumps "$run" "$folder"
  (cd "$folder/$run" && sha256sum --check --quiet SHA256SUMS >&2) || fail "$folder/$run came back damaged (the lines above say where); do not use it"
  echo "$folder/$run"
}

"$@"
