#!/bin/sh
# Takes out of the root file system ROOT what a container does not need and what differs from build to build.
#
#   strip.sh ROOT
set -eu

root=$1

# Nothing in these images has to gain rights, so nothing may.
find "$root" -xdev -type f -perm /6000 -exec chmod ug-s '{}' +

# A private key that every copy of the image would share, made by a package for web servers.
rm -f "$root/etc/ssl/private/ssl-cert-snakeoil.key" "$root/etc/ssl/certs/ssl-cert-snakeoil.pem"

rm -rf "$root/etc/systemd/system" "$root"/etc/rc[0-6S].d "$root/etc/init.d" "$root/etc/cron.d" "$root/etc/logrotate.d"
find "$root/var/log" "$root/var/cache" "$root/var/lib/apt" "$root/var/lib/systemd" "$root/var/backups" -type f -delete
find "$root/etc" -name '*-' -type f -delete
# The day on which a password was last changed is the day of the build.
sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\1::/' "$root/etc/shadow"
