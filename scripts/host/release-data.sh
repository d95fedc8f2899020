#!/bin/sh
# release-data.sh SRV_ROOT: let the data volume go before it is detached: containers, Docker, then the file system.
set -eu
srv=$1
GRACE_SECONDS=120 # as long as PostgreSQL may take for a clean stop

fail() {
  echo "$1" >&2
  exit 1
}

mountpoint -q "$srv" || exit 0
if systemctl --quiet is-active docker.service; then
  containers=$(docker ps --quiet) ||
    fail "the Docker engine runs but does not answer, so its containers cannot be stopped; restart it (systemctl restart docker), then try again"
  # With live-restore, containers outlive the service.
  # shellcheck disable=SC2086 # one word a container
  [ -z "$containers" ] || docker stop -t "$GRACE_SECONDS" $containers >/dev/null ||
    fail "not every container could be stopped (the lines above say which), so $srv stays mounted; stop it by hand, then try again"
fi
# The socket first: it would start the service again. Neither is there before Docker is installed.
for unit in docker.socket docker.service; do
  ! systemctl --quiet is-active "$unit" || systemctl stop "$unit" ||
    fail "$unit could not be stopped, so $srv stays mounted; see journalctl --unit $unit"
done
umount "$srv" ||
  fail "$srv is still in use and stays mounted; see who uses it (fuser --mount --verbose $srv), end that, then try again"
