# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# What Redis says of itself, asked once: memory against its limit, what it drops for that, whether it can save.
group='PostgreSQL, PgBouncer, Redis'

if ! runs redis-cache; then
  unknown "$why" redis
  return
fi
if [ ! -r "$srv/config/platform.env" ]; then
  unknown "$srv/config/platform.env, which has Redis' password, cannot be read; run as root" redis
  return
fi
# The password is the first thing that redis-cli reads, and in no argument.
# shellcheck source=/dev/null # NAME='value' lines, written by the program
login=$(. "$srv/config/platform.env" && printf '%s' "$REDIS_ADMIN_PASSWORD" | sed 's/[\\"]/\\&/g')
if ! ask 6 docker exec --interactive redis-cache redis-cli <<END
AUTH admin "$login"
INFO
END
then
  check redis fail "container redis-cache runs, and Redis does not answer: $why; see docker logs redis-cache"
  return
fi
answer=$(printf '%s\n' "$answer" | tr -d '\r')

of() { # FIELD
  printf '%s\n' "$answer" | sed -n "s/^$1://p"
}

version=$(of redis_version)
if [ -z "$version" ]; then
  check redis fail "Redis answers $(printf '%s\n' "$answer" | awk 'NF { print substr($0, 1, 200); exit }'); run make up ARGS=--refresh"
  return
fi
used=$(of used_memory) most=$(of maxmemory) policy=$(of maxmemory_policy)
share=$(percent "$used" "$most")
detail="version $version, $(size "$used") of $(size "$most") ($share %, $policy), $(of evicted_keys) keys dropped, $(of connected_clients) clients"
state=ok remedy=
case $policy in
  # A full cache that makes room by itself is as it should be.
  allkeys-*) ;;
  *)
    [ "$most" = 0 ] || state=$(level "$share" 85 95)
    [ "$state" = ok ] || remedy="; when it is full, writes are refused: set redis.maxmemory higher, then make up"
    ;;
esac
if [ "$(of loading)" = 1 ]; then
  state=warn remedy="; it still loads its data"
fi
if [ "$(of aof_last_write_status)" = err ] || [ "$(of rdb_last_bgsave_status)" = err ] || [ "$(of aof_last_bgrewrite_status)" = err ]; then
  state=fail remedy="; it cannot save its data: see docker logs redis-cache, and the disk"
fi
check redis "$state" "$detail$remedy"
