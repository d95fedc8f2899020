#!/bin/sh
# remove-stray-container.sh CONTAINER PROJECT SRV_ROOT GRACE_SECONDS: make room for a container that is about to be created.
#
# Removes a container of that name only if compose's labels say that it is this platform's: made by `docker compose up`,
# or left by an `up` that was cut off. Anybody else's is named and left alone.
set -eu
container=$1 project=$2 srv=$3 grace=$4

label() {
  docker container inspect --format "{{index .Config.Labels \"com.docker.compose.project$1\"}}" "$container" 2>/dev/null
}

label '' >/dev/null || exit 0
if [ "$(label '')" != "$project" ] || [ "$(label .working_dir)" != "$srv/apps/$project" ]; then
  echo "a container named $container is there that is not this platform's; rename or remove it, then run up again" >&2
  exit 1
fi
docker stop --time "$grace" "$container" >/dev/null
docker rm "$container" >/dev/null
