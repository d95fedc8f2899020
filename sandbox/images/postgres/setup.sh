#!/bin/sh
# Turns a root file system with Debian's PostgreSQL into what the official image holds.
#
#   setup.sh users ROOT     before the packages are installed
#   setup.sh finish ROOT    after that
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$2

users() {
  "$here/../add-user.sh" "$root" postgres 999 /var/lib/postgresql /bin/bash
  # Debian would make a cluster of its own while it installs the server.
  mkdir -p "$root/etc/postgresql-common/createcluster.d"
  echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.d/none.conf"
}

finish() {
  chroot "$root" localedef -i en_US -c -f UTF-8 -A /usr/share/locale/locale.alias en_US.UTF-8
  rm -rf "$root/usr/share/i18n"

  sed -i -E "s/^#?listen_addresses = [^#]*/listen_addresses = '*'\t\t/" \
    "$root/usr/share/postgresql/17/postgresql.conf.sample"
  grep -q "^listen_addresses = '\*'" "$root/usr/share/postgresql/17/postgresql.conf.sample"

  rm -rf "$root/etc/postgresql" "$root/var/lib/postgresql" "$root/run/postgresql"
  # World-writable as in the original, so that any --user can start it; the entry point closes PGDATA.
  install -d -o 999 -g 999 -m 1777 "$root/var/lib/postgresql" "$root/var/lib/postgresql/data"
  install -d -o 999 -g 999 -m 3777 "$root/run/postgresql"
  install -d "$root/docker-entrypoint-initdb.d"
  install -m 755 "$here/docker-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
}

"$1"
