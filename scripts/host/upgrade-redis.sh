#!/bin/sh
# upgrade-redis.sh: Redis' data become those of another version; the former ones stay as they were, as the way back.
#
#   switch IMAGE --yes    stop Redis, have the new version read a copy and write it in its own form, keep the former data as
#                         data/redis-VERSION; then `pulumi up` with that image brings Redis up again
#   back IMAGE --yes      the former data again, for `pulumi up` with their image; those since are kept as data/redis-VERSION-left
#   drop --yes            remove the former data, and those that were left
#   settle                take back a switch that was cut off (a process of its own does it)
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
# shellcheck source=scripts/host/backup.d/dumps.sh
. "$apps/backup.d/dumps.sh"
# shellcheck source=scripts/host/backup.d/exchange.sh
. "$apps/backup.d/exchange.sh"
data=$srv/data/redis
# The data to be.
fresh_name=.redis-upgrade
fresh=$srv/data/$fresh_name
exchanging=$srv/data/.redis-exchange stopped=$srv/data/.redis-upgrade-stopped
server=redis-upgrade

usage() {
  sed -n '4,8s/^#   //p' "$0" >&2
  exit 2
}

clean_up() {
  docker rm --force --volumes "$server" >/dev/null 2>&1 || :
  if [ -e "$exchanging" ]; then
    : >"$stopped"
    docker stop --time 60 redis-cache >/dev/null 2>&1 || :
    rmdir "$data" 2>/dev/null || :
    take_back redis
  fi
  if [ -e "$stopped" ]; then
    docker start redis-cache >/dev/null 2>&1 || :
    rm -f "$stopped"
  fi
  rm -rf "$fresh"
}

# Sets from, as whoever wrote the data says in their first bytes, and to.
read_versions() { # IMAGE
  image=$1
  file=$(find "$data/appendonlydir" -name '*.base.rdb' 2>/dev/null | sort -V | tail -n 1)
  [ -n "$file" ] || fail "there are no data of Redis in $data/appendonlydir; run pulumi up first"
  from=$(head -c 64 "$file" | LC_ALL=C tr -c '[:print:]' '\n' | sed -n '/redis-ver$/{n;s/^\([0-9]*\.[0-9]*\).*/\1/p;}')
  to=$(version_in "$image" redis-server | cut -d . -f 1,2)
  [ -n "$to" ] || fail "image $image holds no Redis; look at images.json"
}

# A throw-away one of the new version.
start() { # ARGUMENT...
  docker run --detach --name "$server" --network none --user 999:999 --cap-drop ALL --security-opt no-new-privileges:true \
    --security-opt label=disable --volume "$fresh:/data" --volume "$srv/config/redis:/etc/redis:ro" --entrypoint redis-server "$image" "$@" >/dev/null
}
stop() {
  docker stop --time 600 "$server" >/dev/null
  [ "$(docker container inspect --format '{{.State.ExitCode}}' "$server")" = 0 ] || fail "Redis $to could not write its data: $(docker logs --tail 1 "$server" 2>&1)"
  docker rm --volumes "$server" >/dev/null
}
says() { # COMMAND...
  docker exec "$server" redis-cli --no-auth-warning "$@" 2>&1 | tr -d '\r'
}
until_it_says() { # ANSWER COMMAND...
  answer=$1
  shift
  until says "$@" | grep -qx "$answer"; do
    [ "$(docker container inspect --format '{{.State.Running}}' "$server")" = true ] || fail "Redis $to does not read the data: $(docker logs --tail 1 "$server" 2>&1)"
    sleep 0.2
  done
}
keys() {
  says INFO keyspace | awk -F '[=,]' '/^db[0-9]+:keys=/ { keys += $2 } END { print keys + 0 }'
}

# In its own form, so that the first bytes say who reads it; then with the platform's configuration.
convert() {
  cp -a --reflink=auto "$data" "$fresh"
  start --dir /data --appendonly yes --save ''
  until_it_says PONG PING
  says BGREWRITEAOF >/dev/null
  until_it_says aof_rewrite_in_progress:0 INFO persistence
  until_it_says aof_last_bgrewrite_status:ok INFO persistence
  count=$(keys)
  stop
  start /etc/redis/redis.conf
  until_it_says PONG --user health --pass health PING
  stop
}

stop_redis() {
  : >"$stopped"
  if docker container inspect redis-cache >/dev/null 2>&1; then docker stop --time 60 redis-cache >/dev/null; fi
}

# From here on the next `pulumi up` starts what fits the data.
taken_over() {
  trap '' HUP INT TERM
  rm -f "$stopped"
  settled redis
}

switch() {
  [ "$to" != "$from" ] || fail "the data are of Redis $from and so is $image; put another version's image into images.json"
  [ "$(printf '%s\n%s\n' "$from" "$to" | sort -V | tail -n 1)" = "$to" ] ||
    fail "the data are of Redis $from, which Redis $to cannot read; with data from before an upgrade: make upgrade-redis ARGS='back --yes'"
  [ ! -e "$srv/data/redis-$from" ] || fail "$srv/data/redis-$from is there from an upgrade before; when nobody needs it: sudo $0 drop --yes"
  need_space "$srv/data" $(($(du -sb "$data" | cut -f 1) * 3 + 67108864)) "the converted copy"
  only_one
  protect
  begun=$(date +%s)
  stop_redis
  convert
  if command -v restorecon >/dev/null; then restorecon -R "$fresh"; fi
  sync --file-system "$fresh"
  exchange redis "redis-$from" "$fresh_name"
  taken_over
  say "the data are of Redis $to, $count keys, since $(($(date +%s) - begun)) s without service; now run pulumi up, which starts it"
  echo "the data of Redis $from are in $srv/data/redis-$from: make upgrade-redis ARGS='back --yes' goes back to them, ARGS='drop --yes' removes them"
}

back() {
  [ "$to" != "$from" ] || fail "the data are of Redis $from and so is $image; put the former version's image back into images.json, then say this again"
  [ -d "$srv/data/redis-$to" ] || fail "there are no data of Redis $to ($srv/data/redis-$to) to go back to; a dump from then will do: images.json of then, and restore-redis.sh"
  [ ! -e "$srv/data/redis-$from-left" ] || fail "$srv/data/redis-$from-left is there already; when nobody needs it, remove it"
  only_one
  protect
  stop_redis
  exchange redis "redis-$from-left" "redis-$to"
  taken_over
  say "the data are those of Redis $to again, as they were before the upgrade; now run pulumi up, which starts it"
  echo "what was written since is in $srv/data/redis-$from-left"
}

begin() { # IMAGE
  lock upgrade-redis
  settle Redis
  read_versions "$1"
}

case $#,${1:-},${3:-} in
  1,--clean-up,) settle Redis ;;
  1,settle,)
    lock upgrade-redis
    only_one
    settle Redis
    ;;
  3,switch,--yes)
    begin "$2"
    switch
    ;;
  3,back,--yes)
    begin "$2"
    back
    ;;
  2,drop,)
    [ "$2" = --yes ] || usage
    lock upgrade-redis
    settle Redis
    drop redis
    ;;
  2,switch, | 2,back,) fail "Redis would be stopped, and nothing was begun: say $1 IMAGE --yes" ;;
  *) usage ;;
esac
