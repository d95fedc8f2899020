#!/bin/sh
# Turns a root file system with Debian's PgBouncer into what Percona's image holds.
#
#   setup.sh users ROOT     before the packages are installed
#   setup.sh finish ROOT    after that
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$2

users() { "$here/../add-user.sh" "$root" pgbouncer 1001 /home/pgbouncer /usr/sbin/nologin; }

# Debian's package wants PostgreSQL's scripts and all of Perl for them; Percona's image has no client, and a
# health check that needs one must not pass here.
remove_client() {
  # shellcheck disable=SC2016,SC2046 # dpkg's own placeholder; a list of names
  chroot "$root" dpkg --purge --force-depends $(chroot "$root" dpkg-query -W -f '${Package}\n' \
    'postgresql*' ssl-cert perl 'perl-modules-*' 'libperl*' 'lib*-perl') >/dev/null
  # Its user came with those scripts.
  sed -i '/^postgres:/d' "$root/etc/passwd" "$root/etc/group" "$root/etc/shadow"
}

finish() {
  remove_client
  mv "$root/usr/sbin/pgbouncer" "$root/usr/bin/pgbouncer"
  rm -rf "$root/etc/pgbouncer" "$root/var/log/postgresql" "$root/var/lib/postgresql"
  install -d -o 1001 -g 0 "$root/etc/pgbouncer" "$root/var/log/pgbouncer" "$root/run/pgbouncer"
  install -o 1001 -g 0 -m 644 "$here/pgbouncer.ini" "$root/etc/pgbouncer/pgbouncer.ini"
  install -o 1001 -g 0 -m 644 /dev/null "$root/etc/pgbouncer/userlist.txt"
  install -o 1001 -g 0 -m 755 "$here/entrypoint.sh" "$root/entrypoint.sh"
}

"$1"
