#!/bin/sh
# Keeps one program running on a machine without an init system to do it.
#
#   supervise.sh start   STATE NAME COMMAND [ARG...]  starts it in the background, for good
#   supervise.sh restart STATE NAME SECONDS           ends the program once; its supervisor starts it again
#   supervise.sh stop    STATE NAME SECONDS           ends the supervisor, then the program
#   supervise.sh status  STATE NAME                   exit 0 while the supervisor lives, 2 when only the program does
#
# SECONDS is how long the program may take after SIGTERM before it gets SIGKILL; 0 is SIGKILL at once.
# Files in STATE: NAME.supervisor and NAME.process (pid and start time, so that a stale file never matches
# another process), NAME.failures (unexpected ends in a row), NAME.restarting (the next end is no failure),
# NAME.log and NAME.log.1, and NAME.lock, which the supervisor holds for its whole life.
set -eu

LOG_LIMIT_BYTES=5000000
STEADY_SECONDS=10 # a program that ran this long is started again at once
LONGEST_PAUSE_SECONDS=30

die() {
  echo "supervise.sh: $1" >&2
  exit 1
}

now() { date +%s; }

# Prints when process $1 started (boot, clock ticks since then); fails when it is gone or only a zombie.
start_time() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The second field may hold blanks and brackets, so count from the last bracket on.
  # shellcheck disable=SC2086 # splitting into words is the point
  set -- ${stat##*) }
  [ "$1" != Z ] && echo "$(cat /proc/sys/kernel/random/boot_id)-${20}"
}

record() { # PID FILE
  echo "$1 $(start_time "$1" || echo gone)" >"$2.new"
  mv "$2.new" "$2"
}

# Prints the pid recorded in file $1 when that very process still lives.
live() {
  [ -r "$1" ] || return 1
  read -r recorded_pid recorded_time <"$1" || return 1
  [ "$(start_time "$recorded_pid")" = "$recorded_time" ] || return 1
  echo "$recorded_pid"
}

end_process() { # FILE SECONDS
  pid=$(live "$1") || return 0
  [ "$2" -eq 0 ] || kill -TERM "$pid" 2>/dev/null || return 0
  deadline=$(($(now) + $2))
  # The very process: the supervisor may have another running, and on record, by the next look.
  while [ "$(live "$1")" = "$pid" ]; do
    if [ "$(now)" -ge "$deadline" ]; then
      kill -KILL "$pid" 2>/dev/null || :
      deadline=$(($(now) + 10))
    fi
    sleep 0.2
  done
}

limit_log() {
  if [ "$(wc -c <"$log")" -gt "$LOG_LIMIT_BYTES" ]; then
    # The program keeps its descriptor open in append mode, so the file is emptied, not moved.
    cp "$log" "$log.1"
    : >"$log"
  fi
}

# The supervisor itself. SIGTERM ends it and leaves the program to whoever sent the signal; a program that a
# dead supervisor left behind is adopted.
run() {
  exec 9>"$lock"
  # The last `sleep` of a supervisor that was just ended may hold it for a second more.
  flock -w 3 9 || exit 0
  record $$ "$supervisor_file"
  pause=0
  failures=0
  echo 0 >"$failures_file"
  while :; do
    if ! live "$process_file" >/dev/null; then
      "$@" 9>&- &
      record $! "$process_file"
    fi
    began=$(now)
    while live "$process_file" >/dev/null; do
      limit_log
      sleep 1
    done
    if rm "$restarting_file" 2>/dev/null; then
      pause=0
      failures=0
    elif [ $(($(now) - began)) -ge "$STEADY_SECONDS" ]; then
      pause=0
      failures=1
    else
      pause=$((pause == 0 ? 1 : pause * 2))
      [ "$pause" -le "$LONGEST_PAUSE_SECONDS" ] || pause=$LONGEST_PAUSE_SECONDS
      failures=$((failures + 1))
    fi
    echo "$failures" >"$failures_file"
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) supervise.sh: $name ended; starting it again in $pause s"
    sleep "$pause"
  done
}

# Runs "$@" in a session of its own with nothing of the caller's: no terminal, no open files (a pipe held open
# would make the caller's reader wait for ever), and no environment, which may hold the caller's secrets.
detach() {
  for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR; do
    value=$(printenv "$variable") && set -- "$variable=$value" "$@"
  done
  # bash, since sh cannot name descriptors above 9.
  env -i PATH="$PATH" HOME="${HOME:-/}" "$@"
}

start() {
  live "$supervisor_file" >/dev/null && return 0
  : >>"$log"
  # shellcheck disable=SC2016 # expanded by the inner bash
  detach setsid --fork bash -c '
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    cd /
    umask 022
    exec "$@"' close-files "$0" run "$state" "$name" "$@" </dev/null >>"$log" 2>&1
  tries=0
  until live "$supervisor_file" >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -le 50 ] || die "the supervisor of $name did not start: see $log"
    sleep 0.1
  done
}

restart() {
  : >"$restarting_file"
  end_process "$process_file" "$1"
}

stop() {
  end_process "$supervisor_file" 5
  end_process "$process_file" "$1"
  rm -f "$supervisor_file" "$process_file" "$failures_file" "$restarting_file"
}

status() {
  ! live "$supervisor_file" >/dev/null || return 0
  ! live "$process_file" >/dev/null || return 2
  return 1
}

[ $# -ge 3 ] || die "usage: supervise.sh start|restart|stop|status STATE NAME [ARG...]"
action=$1
state=$2
name=$3
shift 3
lock=$state/$name.lock
log=$state/$name.log
supervisor_file=$state/$name.supervisor
process_file=$state/$name.process
failures_file=$state/$name.failures
restarting_file=$state/$name.restarting

case $action in
  start) start "$@" ;;
  run) run "$@" ;;
  restart) restart "$1" ;;
  stop) stop "$1" ;;
  status) status ;;
  *) die "unknown action '$action': use start, restart, stop or status" ;;
esac
