#!/bin/sh
# What the images for monitoring have in common: one program in the place where the published image has it, and busybox's wget
# for the health check, as there.
#
#   monitoring-setup.sh users|finish ROOT DEBIAN-PROGRAM PROGRAM
set -eu

root=$2 debian=$3 program=$4

finish() {
  # /bin may be /usr/bin.
  [ "$root$debian" -ef "$root$program" ] || mv "$root$debian" "$root$program"
  ln -sf busybox "$root/usr/bin/wget"
  # Debian's own settings, which the published images do not have.
  rm -rf "$root"/etc/default/prometheus* "$root"/etc/prometheus "$root"/var/lib/prometheus
}

case $1 in
  # User `nobody` is Debian's own, with the number that it has in the published images: 65534.
  users) ;;
  finish) finish ;;
esac
