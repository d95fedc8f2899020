#!/bin/sh
# Turns a root file system with Debian's Redis into what the official image holds.
#
#   setup.sh users ROOT     before the packages are installed
#   setup.sh finish ROOT    after that
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$2

users() { "$here/../add-user.sh" "$root" redis 999 /home/redis /bin/sh; }

finish() {
  rm -rf "$root/etc/redis" "$root/var/lib/redis" "$root/var/log/redis" "$root/run/redis"
  ln -s redis-server "$root/usr/bin/redis-sentinel"
  install -d -o 999 -g 999 "$root/data"
  install -m 755 "$here/docker-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
}

"$1"
