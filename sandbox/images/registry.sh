#!/bin/sh
# An image registry on 127.0.0.1, for this machine alone.
#
#   registry.sh start|stop|status [--port N] [--netns NAME] [--state DIR] [--storage DIR]
#
# With --netns it listens in that network namespace, for a Docker engine there, and serves the same images
# without taking any: two registries that write to one storage would break it.
# The port is $CDP_REGISTRY_PORT, else 5443; the storage is in $CDP_CACHE_DIR, else ~/.cache/central-data-platform.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
supervise=$here/../docker/supervise.sh
STOP_SECONDS=10
READY_SECONDS=10

die() {
  echo "registry.sh: $1" >&2
  exit 1
}

say() { echo "image registry: $1"; }

where() { echo "127.0.0.1:$port${netns:+ in the network namespace $netns}"; }

# bash, for its sockets: no other client is sure to be there.
answers() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  ${netns:+nsenter "--net=/run/netns/$netns"} \
    bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"' "$port" 2>/dev/null
}

ours() { "$supervise" status "$state" registry; }

write_configuration() {
  cat >"$state/registry.yml" <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: "$storage"}
  maintenance:
    uploadpurging: {enabled: false}
    readonly: {enabled: $([ -n "$netns" ] && echo true || echo false)}
http: {addr: "127.0.0.1:$port"}
YAML
}

wait_until_ready() {
  deadline=$(($(date +%s) + READY_SECONDS))
  until answers; do
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

start() {
  "$here/../docker/ensure-packages.sh" docker-registry
  mkdir -p "$state" "$storage"
  exec 8>"$state/start.lock"
  flock -w 60 8 || die "another start has held $state/start.lock for a minute: end it first"
  if ours && [ "$(cat "$state/storage")" != "$storage" ]; then
    die "the registry on $(where) serves $(cat "$state/storage"), not $storage: stop it, or set CDP_REGISTRY_PORT"
  fi
  # It may still be in a namespace of that name that has been deleted since.
  if ours && ! wait_until_ready; then "$supervise" stop "$state" registry "$STOP_SECONDS"; fi
  if ! ours; then
    ! answers || die "port $port on 127.0.0.1 is taken by another program: set CDP_REGISTRY_PORT to a free one"
    echo "$storage" >"$state/storage"
    write_configuration
    # shellcheck disable=SC2086 # two words or none
    "$supervise" start "$state" registry \
      ${netns:+nsenter "--net=/run/netns/$netns"} docker-registry serve "$state/registry.yml"
  fi
  if ! wait_until_ready; then
    tail -n 10 "$state/registry.log" >&2
    "$supervise" stop "$state" registry "$STOP_SECONDS"
    die "the registry does not answer on $(where); above are the last lines of $state/registry.log"
  fi
  say "running on $(where)"
}

stop() {
  "$supervise" stop "$state" registry "$STOP_SECONDS"
  say "stopped on $(where)"
}

status() {
  ours || {
    say "not running on $(where)"
    return 1
  }
  say "running on $(where)"
}

[ $# -ge 1 ] || die "usage: registry.sh start|stop|status [OPTION...]; see the top of this file"
action=$1
shift
port=${CDP_REGISTRY_PORT:-5443}
storage=${CDP_CACHE_DIR:-$HOME/.cache/central-data-platform}/registry
netns='' state=''
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || die "option '$1' is unknown or lacks its value"
  case $1 in
    --port) port=$2 ;;
    --netns) netns=$2 ;;
    --state) state=$(realpath -m "$2") ;;
    --storage) storage=$(realpath -m "$2") ;;
    *) die "unknown option '$1': use --port, --netns, --state or --storage" ;;
  esac
  shift 2
done
[ -n "$state" ] || state=/run/central-data-platform/registry-$port${netns:+-$netns}
[ -z "$netns" ] || [ -e "/run/netns/$netns" ] || [ "$action" != start ] ||
  die "there is no network namespace '$netns': start the engine with --netns $netns first"

case $action in
  start) start ;;
  stop) stop ;;
  status) status ;;
  *) die "unknown action '$action': use start, stop or status" ;;
esac
