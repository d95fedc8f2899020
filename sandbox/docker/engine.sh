#!/bin/sh
# A Docker engine for a Debian or Ubuntu without an init system to start one.
#
#   engine.sh install
#   engine.sh start|stop|status [--state DIR] [--socket PATH] [--data-root DIR] [--netns NAME]
#   engine.sh restart [--hard] [--state DIR]     --hard: SIGKILL, as in a crash
#
# Without --state it is the machine's own engine, on /var/run/docker.sock. With --state it is a private one
# beside it: socket and data default to names in DIR, and --netns puts it into a network namespace of that
# name, so that its firewall rules and published ports do not meet the machine's own. `start` remembers the
# options in DIR; the other actions need only --state. An engine that something else started is used as it
# is and never stopped.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
MACHINE_STATE=/run/central-data-platform/docker
NETNS_BRIDGE=10.254.253.1/24 # docker0 in a namespace, where there is nothing else to meet
READY_SECONDS=60
STOP_SECONDS=180 # dockerd gives each container its own time to stop first, PostgreSQL's two minutes
# Unix sockets end at 108 bytes, and containerd's are this much below the state folder.
STATE_PATH_LIMIT=60

die() {
  echo "engine.sh: $1" >&2
  exit 1
}

say() { echo "docker engine: $1"; }

answers() { docker --host "unix://$socket" version >/dev/null 2>&1; }

ours() { "$here/supervise.sh" status "$state" dockerd; }

# An engine of ours that has lost its supervisor.
left_behind() {
  code=0
  ours || code=$?
  [ "$code" = 2 ]
}

is_private() { [ "$state" != "$MACHINE_STATE" ]; }

# The value of option $1: as given ($2), else as remembered by the last start, else the default $3.
option() {
  if [ -n "$2" ]; then
    echo "$2"
  elif [ -r "$state/$1" ]; then
    cat "$state/$1"
  else
    echo "$3"
  fi
}

install() {
  grep -qiE '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release 2>/dev/null ||
    die "this system is neither Debian nor Ubuntu: install Docker Engine by hand and start it"
  command -v dockerd >/dev/null || "$here/ensure-packages.sh" docker.io
  command -v docker >/dev/null || "$here/ensure-packages.sh" docker-cli
  command -v iptables >/dev/null || "$here/ensure-packages.sh" iptables
  [ -z "$netns" ] || command -v ip >/dev/null || "$here/ensure-packages.sh" iproute2
}

# A pid file of an earlier boot may name a process that has nothing to do with it; dockerd would refuse to
# start because of it, or worse, signal it.
drop_stale_pid_file() { # FILE PROGRAM
  [ -r "$1" ] || return 0
  # A zombie has a name, but no program any more.
  case $(readlink "/proc/$(cat "$1")/exe") in
    */"$2" | */"$2 (deleted)") ;;
    *) rm -f "$1" ;;
  esac
}

# What the supervisor runs.
exec_dockerd() {
  drop_stale_pid_file "$pid_file" dockerd
  drop_stale_pid_file "$exec_root/containerd/containerd.pid" containerd
  set -- dockerd --host "unix://$socket" --data-root "$data_root" --exec-root "$exec_root" --pidfile "$pid_file"
  if [ -n "$netns" ]; then
    # Not `ip netns exec`: it mounts a fresh /sys, which hides the cgroups.
    set -- nsenter "--net=/run/netns/$netns" "$@" --bip "$NETNS_BRIDGE"
  fi
  exec "$@"
}

make_netns() {
  [ -e "/run/netns/$netns" ] || ip netns add "$netns" || die "cannot make the network namespace '$netns'"
  ip -n "$netns" link set lo up
}

# An engine that an init script started a moment ago needs a little time to answer.
wait_for_other_engine() {
  drop_stale_pid_file "$pid_file" dockerd
  [ -r "$pid_file" ] || return 1
  wait_until_ready || die "dockerd (process $(cat "$pid_file")) runs but does not answer on $socket"
}

wait_until_ready() {
  deadline=$(($(date +%s) + READY_SECONDS))
  until answers; do
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    # Twice in a row is no accident.
    [ "$(cat "$state/dockerd.failures" 2>/dev/null || echo 0)" -lt 2 ] || return 1
    sleep 0.3
  done
}

start() {
  [ "$(id -u)" = 0 ] || die "only root can start a Docker engine: run it with sudo, or start Docker by hand"
  [ "${#state}" -le "$STATE_PATH_LIMIT" ] ||
    die "--state is longer than $STATE_PATH_LIMIT characters, too long for the sockets in it: choose a shorter path"
  mkdir -p "$state"
  exec 8>"$state/start.lock"
  flock -w 300 8 || die "another start has held $state/start.lock for five minutes: end it first"
  install
  if answers && ! left_behind; then
    if ours; then say "already running on $socket"; else say "using the one that runs on $socket"; fi
    return
  fi
  if ! ours; then
    if ! left_behind && wait_for_other_engine; then
      say "using the one that runs on $socket"
      return
    fi
    mountpoint -q /sys/fs/cgroup ||
      die "no cgroup hierarchy is mounted on /sys/fs/cgroup: mount one, as the package cgroupfs-mount does"
    [ -z "$netns" ] || make_netns
    mkdir -p "$(dirname "$socket")" "$data_root" "$exec_root"
    echo "$socket" >"$state/socket"
    echo "$data_root" >"$state/data-root"
    echo "$netns" >"$state/netns"
    "$here/supervise.sh" start "$state" dockerd "$here/engine.sh" exec-dockerd --state "$state"
  fi
  if ! wait_until_ready; then
    tail -n 15 "$state/dockerd.log" >&2
    "$here/supervise.sh" stop "$state" dockerd 20
    ! is_private || remove_leftovers
    die "dockerd does not answer on $socket; above are the last lines of $state/dockerd.log"
  fi
  say "started on $socket"
}

# After a dockerd that ended by itself there is nothing left; after a killed one its containers go on.
remove_leftovers() {
  runtime_state=$exec_root/runtime-runc/moby
  if [ -d "$runtime_state" ]; then
    for container in "$runtime_state"/*/; do
      [ -d "$container" ] && runc --root "$runtime_state" delete --force "$(basename "$container")"
    done
  fi
  grep -lzxsF -- "$exec_root/containerd/containerd.sock" /proc/[0-9]*/cmdline | while read -r cmdline; do
    pid=${cmdline#/proc/}
    pid=${pid%/cmdline}
    case $(readlink "/proc/$pid/exe") in
      */containerd-shim*) kill "$pid" ;;
    esac
  done
  # Deepest first: overlays and namespaces of containers lie below the folder's own mount.
  awk '{print $5}' /proc/self/mountinfo | sort -r | while read -r mount; do
    case $mount in
      "$data_root" | "$data_root"/* | "$exec_root"/*) umount -l "$mount" ;;
    esac
  done
  [ -z "$netns" ] || ip netns delete "$netns" 2>/dev/null || :
}

stop() {
  if ! ours && [ ! -e "$state/dockerd.process" ]; then
    ! answers || die "the engine on $socket was not started by this script: stop it the way it was started"
    say "not running"
    return
  fi
  "$here/supervise.sh" stop "$state" dockerd "$STOP_SECONDS"
  ! is_private || remove_leftovers
  say "stopped"
}

restart() {
  ours || die "no engine of this script runs with the state in $state: start it first"
  before=$(cat "$state/dockerd.process")
  "$here/supervise.sh" restart "$state" dockerd "$grace"
  deadline=$(($(date +%s) + READY_SECONDS))
  while [ "$(cat "$state/dockerd.process")" = "$before" ] && [ "$(date +%s)" -lt "$deadline" ]; do
    sleep 0.2
  done
  wait_until_ready || die "dockerd does not answer on $socket after its restart: see $state/dockerd.log"
  say "restarted on $socket"
}

status() {
  answers || {
    say "not running on $socket"
    return 1
  }
  if ours; then
    say "running on $socket, supervised"
  elif left_behind; then
    say "running on $socket, but its supervisor is gone: start it again"
  else
    say "running on $socket, started by something else"
  fi
}

[ $# -ge 1 ] || die "usage: engine.sh install|start|stop|restart|status [OPTION...]; see the top of this file"
action=$1
shift
state=$MACHINE_STATE given_socket='' given_data_root='' given_netns='' grace=$STOP_SECONDS
while [ $# -gt 0 ]; do
  if [ "$1" = --hard ]; then
    grace=0
    shift
    continue
  fi
  [ $# -ge 2 ] || die "option '$1' is unknown or lacks its value"
  case $1 in
    --state) state=$(realpath -m "$2") ;;
    --socket) given_socket=$(realpath -ms "$2") ;;
    --data-root) given_data_root=$(realpath -m "$2") ;;
    --netns) given_netns=$2 ;;
    *) die "unknown option '$1': use --state, --socket, --data-root, --netns or --hard" ;;
  esac
  shift 2
done

if is_private; then
  socket=$(option socket "$given_socket" "$state/docker.sock")
  data_root=$(option data-root "$given_data_root" "$state/data")
  exec_root=$state/exec
  pid_file=$state/dockerd.pid
else
  socket=$(option socket "$given_socket" /var/run/docker.sock)
  data_root=$(option data-root "$given_data_root" /var/lib/docker)
  exec_root=/var/run/docker
  pid_file=/var/run/docker.pid
fi
netns=$(option netns "$given_netns" '')

case $action in
  install) install ;;
  start) start ;;
  stop) stop ;;
  restart) restart ;;
  status) status ;;
  exec-dockerd) exec_dockerd ;;
  *) die "unknown action '$action': use install, start, stop, restart or status" ;;
esac
