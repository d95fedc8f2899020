#!/bin/sh
# Turns a root file system with Debian's PostgreSQL 18 into what the official image holds.
#
#   setup.sh users ROOT     before the packages are installed
#   setup.sh finish ROOT    after that
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$2

users() { "$here/../postgres/setup.sh" users "$root"; }

finish() {
  chroot "$root" localedef -i en_US -c -f UTF-8 en_US.UTF-8
  rm -rf "$root/usr/share/i18n"

  rm -rf "$root/etc/postgresql" "$root/var/lib/postgresql" "$root/run/postgresql"
  install -d -o 999 -g 999 -m 1777 "$root/var/lib/postgresql"
  install -d -o 999 -g 999 -m 3777 "$root/run/postgresql"
  install -d "$root/docker-entrypoint-initdb.d"
  install -m 755 "$here/docker-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
  install -m 755 "$here/../postgres/docker-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint-17.sh"
}

"$1"
