#!/bin/sh
# make-tree.sh SRV_ROOT STACK: make the platform's folders, each with its owner and mode. What is there already stays.
# Refuses a folder that holds something else: the marker file says that it is ours.
set -eu
srv=$1 stack=$2
marker=$srv/.central-data-platform

fail() {
  echo "$1" >&2
  exit 1
}

if [ -e "$srv" ] && [ ! -d "$srv" ]; then
  fail "$srv is not a folder; move it away, or set central-data-platform:srvRoot to another folder"
fi
if [ -f "$marker" ]; then
  owner=$(head -n 1 "$marker")
  [ "$owner" = "$stack" ] ||
    fail "$srv belongs to stack '$owner', not to '$stack'; set central-data-platform:srvRoot to a folder of this stack's own"
elif [ -d "$srv" ]; then
  # A new file system brings lost+found.
  foreign=$(find "$srv" -mindepth 1 -maxdepth 1 ! -name lost+found ! -path "$marker.new" | head -n 3 | tr '\n' ' ')
  [ -z "$foreign" ] ||
    fail "$srv holds files that are not the platform's ($foreign); move them, or set central-data-platform:srvRoot to an empty folder"
fi

folder() {
  [ -d "$srv/$1" ] && return
  # It gets its name last: a run that is cut off leaves no folder with the wrong owner or mode.
  mkdir -p "$srv/$1.new"
  chown "$3" "$srv/$1.new"
  chmod "$2" "$srv/$1.new"
  mv "$srv/$1.new" "$srv/$1"
  # Where SELinux is in use, label-tree.sh has said which label each folder has.
  if command -v restorecon >/dev/null; then restorecon "$srv/$1"; fi
}

mkdir -p "$srv"
[ -f "$marker" ] || {
  printf '%s\n' "$stack" >"$marker.new"
  mv "$marker.new" "$marker"
}
folder config 0755 0:0
folder config/postgres 0755 0:0
folder config/redis 0755 0:0
folder config/pgbouncer 0755 0:0
folder config/backup 0755 0:0
folder apps 0755 0:0
folder apps/postgres-stack 0755 0:0
folder apps/bootstrap.d 0755 0:0
folder apps/backup.d 0755 0:0
folder apps/status.d 0755 0:0
folder data 0711 0:0
folder data/postgres 0700 999:999
folder data/redis 0700 999:999
folder backups 0700 0:0
folder backups/dumps 0700 0:0
folder backups/base 0700 999:999
folder backups/wal 0700 999:999
folder backups/state 0700 0:0
folder backups/drills 0700 0:0
folder run 0755 0:0
folder run/postgresql 0775 999:999
folder run/pgbouncer 0755 1001:1001
