#!/bin/sh
# engine-tests.sh [PYTEST ARGUMENT...]: the engine tests, with a Docker engine and a network namespace of their own
# (docs/decisions/0008-private-engine-for-tests.md), all of which is removed at the end.
#
# CDP_TEST_MODULE names a Python module to run in their place (make bench).
# CDP_TEST_DOCKER_HOST and CDP_TEST_CATALOGUE name another engine and other images; nothing is then started or removed here.
set -eu
cd "$(dirname "$0")/../.."

state=$(mktemp -d /tmp/cdp-tests.XXXXXX)
netns=$(basename "$state")
export CDP_STATE_DIR="$state"

cleanup() {
  if [ -e "/run/netns/$netns" ]; then
    sh sandbox/images/registry.sh stop --netns "$netns" >/dev/null || true
    sh sandbox/docker/engine.sh stop --state "$state/engine" >/dev/null || true
    [ ! -e "/run/netns/$netns" ] || ip netns delete "$netns"
  fi
  rm -rf "$state"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

if [ -z "${CDP_TEST_DOCKER_HOST:-}" ]; then
  [ "$(id -u)" = 0 ] || {
    echo "the engine tests start a Docker engine of their own, which only root can; run: sudo make engine-tests" >&2
    exit 1
  }
  sh sandbox/docker/engine.sh start --state "$state/engine" --netns "$netns"
  export CDP_TEST_DOCKER_HOST="unix://$state/engine/docker.sock"
  export CDP_TEST_RESTART_DOCKER="sh $PWD/sandbox/docker/engine.sh restart --state $state/engine"
  export CDP_TEST_NETNS="$netns"
fi
if [ -z "${CDP_TEST_CATALOGUE:-}" ]; then
  sh sandbox/images/provide.sh "$state/images.json"
  sh sandbox/images/registry.sh start --netns "$netns"
  export CDP_TEST_CATALOGUE="$state/images.json"
fi
sh sandbox/restic/provide.sh
# Here, where package mirrors can be reached: inside, a machine of the simulated OCI finds its image.
DOCKER_HOST="$CDP_TEST_DOCKER_HOST" sh sandbox/machine/provide.sh >/dev/null
.venv/bin/python -m scripts.workstation.engine_tests "$@"
