#!/bin/sh
# network-room.sh check|make NETWORK PROJECT SRV_ROOT [SUBNET GATEWAY RANGE]: room for a network that is about to be created.
#
#   check  before anything goes: the network is there with other addresses than these, so it has to be made again. Docker removes
#          none that another container is on, and would say so when the platform's own are gone already
#   make   the network is there and the state does not know it: compose made it, or the state was lost. It goes only if compose's
#          labels say that it is this platform's, and with it the platform's containers on it, whose data stays in SRV_ROOT and
#          which are made again next
#
# Anybody else's network or container is named and left alone.
set -eu
action=$1 network=$2 project=$3 srv=$4
shift 4
GRACE_SECONDS=120 # as long as PostgreSQL may take for a clean stop

label() { # OBJECT NAME KEY PLACE
  docker "$1" inspect --format "{{index .$4 \"com.docker.compose.$3\"}}" "$2" 2>/dev/null
}

addresses='{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{.IPRange}}{{end}}'
found=$(docker network inspect --format "$addresses" "$network" 2>/dev/null) || exit 0
[ "$action $found" != "check $*" ] || exit 0
if [ "$(label network "$network" project Labels)" != "$project" ] ||
  [ "$(label network "$network" network Labels)" != "$network" ]; then
  echo "a network named $network is there that is not this platform's; remove it (docker network rm $network), then run up again" >&2
  exit 1
fi

ours='' others=''
for container in $(docker ps --all --filter "network=$network" --format '{{.Names}}'); do
  if [ "$(label container "$container" project Config.Labels)" = "$project" ] &&
    [ "$(label container "$container" project.working_dir Config.Labels)" = "$srv/apps/$project" ]; then
    ours="$ours $container"
  else
    others="$others $container"
  fi
done
if [ -n "$others" ]; then
  echo "the network $network has to be made again, and other containers are on it:$others; stop and remove them, run up again, then start them" >&2
  exit 1
fi
[ "$action" = make ] || exit 0
for container in $ours; do
  docker stop --time "$GRACE_SECONDS" "$container" >/dev/null
  docker rm "$container" >/dev/null
done
docker network rm "$network" >/dev/null
