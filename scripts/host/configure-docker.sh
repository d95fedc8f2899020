#!/bin/sh
# configure-docker.sh USER: bring Docker to the daemon.json of standard input, running now and at each boot.
#
# USER may use it without sudo, as a Docker client over SSH has to. Containers go on while the daemon restarts
# (live-restore), and it restarts only for a new text.
set -eu
umask 022
user=$1
WAIT_SECONDS=60
config=/etc/docker/daemon.json
# There from before a new text is in place until the daemon has it: a run that is cut off in between is made up for.
pending=$config.pending

fail() {
  echo "$1" >&2
  exit 1
}

live_restore() {
  [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ]
}

until_true() { # SECONDS COMMAND...
  seconds=$1
  shift
  until "$@"; do
    [ "$seconds" -gt 0 ] || return 1
    sleep 1
    seconds=$((seconds - 1))
  done
}

answers() {
  docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

command -v dockerd >/dev/null || fail "Docker is not installed on this machine; run install-docker.sh first"
mkdir -p "${config%/*}"
cat >"$config.new"
[ "$(tail -n 1 "$config.new")" = "}" ] ||
  fail "cannot write $config: its text was cut off on the way; the old file stays, run up again"
! grep -q '"hosts"' "$config.new" ||
  fail "daemon.json names hosts, and the Docker engine of this platform listens on its socket alone; take them out"
# Docker has it since version 23.
if dockerd --help 2>&1 | grep -q -e --validate; then
  dockerd --validate --config-file "$config.new" >/dev/null ||
    fail "dockerd refuses the new daemon.json (the lines above say why); the old file stays"
fi
if [ -e "$config" ] && [ "$(cat "$config")" = "$(cat "$config.new")" ]; then
  rm -f "$config.new"
else
  : >"$pending"
  sync "$config.new"
  mv -f "$config.new" "$config"
fi

systemctl --quiet enable docker.service
if [ -e "$pending" ] && systemctl --quiet is-active docker.service; then
  # It takes live-restore from a reload; all the rest needs a restart, which containers then outlive.
  systemctl reload docker.service
  until_true 10 live_restore || true
  systemctl restart docker.service
else
  systemctl start docker.service
fi || fail "the Docker engine does not start (systemctl status docker, journalctl --unit docker); is the data volume mounted?"
until_true "$WAIT_SECONDS" answers ||
  fail "the Docker engine gave no answer for $WAIT_SECONDS s; see journalctl --unit docker, then run up again"
rm -f "$pending"
! systemctl show --property ExecStart docker.service | grep -q tcp:// ||
  fail "docker.service is started with a TCP address, by which anybody becomes root; take it out (systemctl cat docker)"
id -nG "$user" | tr ' ' '\n' | grep -qx docker || usermod --append --groups docker "$user"
