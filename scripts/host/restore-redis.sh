#!/bin/sh
# restore-redis.sh [RUN|FILE|latest] --yes: all of Redis as it was when it was dumped (latest unless said).
#
# Redis keeps an append-only file, and where there is one it reads no dump. So a throw-away Redis of the same image reads the dump
# and writes such a file, in a folder beside; then the folders change places, which takes Redis a few seconds. The old one is kept
# as data/redis_before_NOW, and put back when anything fails.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
# shellcheck source=scripts/host/backup.d/dumps.sh
. "$apps/backup.d/dumps.sh"
data=$srv/data/redis new=$srv/data/.redis.new
stopped=$srv/run/restore-redis.stopped loader=redis-cache-restore

# As it was, unless the new data have been found good.
clean_up() { # WHERE THE OLD DATA ARE KEPT
  docker rm --force "$loader" >/dev/null 2>&1 || :
  if [ -e "$1/.unproven" ]; then
    : >"$stopped"
    docker stop redis-cache >/dev/null 2>&1 || :
    rm -rf "$new"
    [ ! -e "$data" ] || mv "$data" "$new"
    mv "$1" "$data"
  fi
  rm -rf "$new" "$data/.unproven"
  # A container that was stopped stays so, also when Docker or the machine starts anew.
  [ ! -e "$stopped" ] || docker start redis-cache >/dev/null 2>&1 || :
  rm -f "$stopped"
}

if [ "${1:-}" = --clean-up ] && [ $# -eq 2 ]; then
  clean_up "$2"
  exit
fi

which='' yes=no
for word; do
  case $word in
    --yes) yes=yes ;;
    -*) which=- ;;
    *) which=${which:+-}${which:-$word} ;;
  esac
done
case $which in -*) fail "usage: sudo $0 [RUN|FILE|latest] --yes" ;; esac

only_one
find_file "${which:-latest}" redis.rdb Redis
[ "$yes" = yes ] || fail "all keys that are in Redis now would be replaced by those of $folder/$file, and nothing was begun: say --yes to do it (the old data are kept)"
check_sum "$file"
image=$(docker container inspect --format '{{.Config.Image}}' redis-cache 2>/dev/null) || fail "there is no container redis-cache; run pulumi up first"
keys=$(rdb_keys "$folder/$file") || fail "$folder/$file is damaged: redis-check-rdb does not read it to its end; take another run"
before=${data}_before_$now

# shellcheck disable=SC2329 # by trap
finish() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  clean_up "$before"
  unguard
  exit "$status"
}
trap finish EXIT
trap 'echo "restoring Redis was ended by a signal" >&2; exit 1' HUP INT TERM
guard "$before"
# What a restore has left whose machine went down.
for left in "$data"_before_*/.unproven; do
  [ ! -e "$left" ] || clean_up "${left%/.unproven}"
done
# Twice as much for a moment: the dump, and what is written from it.
need_space "$srv/data" "$(($(stat -c %s "$folder/$file") * 3))" "the restored copy"

# --- An append-only file from the dump ---

rm -rf "$new"
mkdir "$new"
cp "$folder/$file" "$new/dump.rdb"
chown -R 999:999 "$new"
docker rm --force "$loader" >/dev/null 2>&1 || :
docker run --detach --name "$loader" --network none --user 999:999 --cap-drop ALL --security-opt no-new-privileges:true \
  --volume "$new:/data" --entrypoint redis-server "$image" --dir /data --appendonly no --save '' >/dev/null

loader_says() { # COMMAND...
  docker exec "$loader" redis-cli "$@" 2>&1 | tr -d '\r'
}

# All databases together.
count_keys() { # INFO keyspace is standard input
  awk -F '[=,]' '/^db[0-9]+:keys=/ { keys += $2 } END { print keys + 0 }'
}

# Keys whose end has come in between are gone.
expected() { # KEYS
  [ "$1" -le "${keys% *}" ] && [ "$1" -ge $((${keys% *} - ${keys#* })) ]
}

wait_for() { # SECONDS COMMAND...
  seconds=$1
  shift
  until "$@"; do
    [ "$seconds" -gt 0 ] || return 1
    sleep 1
    seconds=$((seconds - 1))
  done
}

loaded() { [ "$(loader_says PING)" = PONG ]; }
written() {
  state=$(loader_says INFO persistence)
  case $state in *aof_rewrite_in_progress:1* | *aof_rewrite_scheduled:1*) return 1 ;; esac
  case $state in *aof_enabled:1*aof_last_bgrewrite_status:ok*) ;; *) return 1 ;; esac
}

wait_for 3600 loaded || fail "the dump could not be read by a Redis of image $image; look at docker logs $loader"
count=$(loader_says INFO keyspace | count_keys)
expected "$count" || fail "the dump has ${keys% *} keys, and Redis has read $count of them; nothing was changed"
{ [ "$(loader_says CONFIG SET appendonly yes)" = OK ] && wait_for 3600 written; } || fail "the append-only file could not be written to $new; nothing was changed"
docker stop --time 600 "$loader" >/dev/null
[ "$(docker container inspect --format '{{.State.ExitCode}}' "$loader")" = 0 ] || fail "the append-only file could not be finished; nothing was changed"
docker rm "$loader" >/dev/null
# It is in the append-only file now.
rm -f "$new/dump.rdb"
if command -v restorecon >/dev/null; then restorecon -R "$new"; fi
sync --file-system "$new"

# --- In its place ---

ready() {
  answer=$(echo PING | redis_do)
  [ "$answer" = PONG ]
}

: >"$stopped"
docker stop --time 60 redis-cache >/dev/null
# From here on the old data come back, until the new ones have been found good.
: >"$data/.unproven"
mv "$data" "$before"
mv "$new" "$data"
docker start redis-cache >/dev/null || fail "redis-cache does not start with the restored data, so the old ones were put back; look at docker logs redis-cache"
rm -f "$stopped"
wait_for 3600 ready || fail "redis-cache does not answer with the restored data, so the old ones were put back: $answer"
count=$(echo 'INFO keyspace' | redis_do | count_keys)
expected "$count" || fail "redis-cache has $count keys instead of ${keys% *}, so the old data were put back"
rm "$before/.unproven"

say "Redis is restored from $folder/$file: $count keys"
echo "What was in it before is in $before; when nobody needs it: sudo rm -r $before"
