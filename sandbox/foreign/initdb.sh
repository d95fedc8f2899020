#!/bin/sh
# Makes a cluster in the root file system ROOT, where it is an image's /var/lib/postgresql/data, as on an empty host.
#
#   unshare --mount initdb.sh ROOT
set -eu

mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
exec chroot --userspec=999:999 "$1" /usr/lib/postgresql/17/bin/initdb --pgdata=/var/lib/postgresql/data --username=platform_admin \
  --encoding=UTF8 --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8 --data-checksums --no-sync
