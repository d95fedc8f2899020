#!/bin/sh
# Makes a simulated OCI machine of the root file system ROOT, which holds Debian's packages.
#
#   furnish.sh ROOT
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$1
packages=$root/usr/lib/cdp-sim/packages

# What is there and not installed yet: `dnf install` of the machine puts a package's files in their places.
set_aside() { # PACKAGE PATH...
  package=$1
  shift
  for path; do
    mkdir -p "$packages/$package/$(dirname "$path")"
    mv "$root/$path" "$packages/$package/$path"
  done
}

# systemd acts on a unit by its own name alone, not by an alias of it.
rename_unit() { # OLD NEW
  chroot "$root" systemctl --quiet disable "$1"
  mv "$root/usr/lib/systemd/system/$1" "$root/usr/lib/systemd/system/$2"
  sed -i '/^Alias=/d' "$root/usr/lib/systemd/system/$2"
  chroot "$root" systemctl --quiet enable "$2"
}

# The shim asks it about what is the container's own.
mv "$root/usr/sbin/sysctl" "$root/usr/lib/cdp-sim-sysctl"
# The simulated packages bring their own.
rm -f "$root/etc/default/docker"
cp -a --no-preserve=ownership "$here/files/." "$root/"
mv "$root/usr/lib/cdp-sim-sysctl" "$root/usr/lib/cdp-sim/sysctl"

# A machine makes these for itself.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/ssl/private/ssl-cert-snakeoil.key
: >"$root/etc/machine-id"

rm -f "$root/etc/systemd/system/multi-user.target.wants/docker.service" \
  "$root/etc/systemd/system/multi-user.target.wants/containerd.service" \
  "$root/etc/systemd/system/sockets.target.wants/docker.socket"
set_aside docker-ce usr/sbin/dockerd usr/sbin/docker-proxy usr/bin/docker-init \
  usr/lib/systemd/system/docker.service usr/lib/systemd/system/docker.socket
set_aside docker-ce-cli usr/bin/docker
set_aside containerd.io usr/bin/containerd usr/bin/containerd-shim usr/bin/containerd-shim-runc-v2 usr/bin/ctr \
  usr/sbin/runc usr/lib/systemd/system/containerd.service etc/containerd/config.toml
rm -f "$root/usr/bin/runc" "$root/usr/bin/dnet" "$root/usr/sbin/ovrouter" "$root/usr/bin/containerd-shim-runc-v1"
# systemd would make units of these.
rm -f "$root"/etc/init.d/docker* "$root"/etc/rc?.d/*docker*

chroot "$root" groupdel docker

# As they are called in Oracle Linux.
rename_unit chrony.service chronyd.service
rename_unit ssh.service sshd.service
mv "$root/etc/chrony/chrony.conf" "$root/etc/chrony.conf"
echo 'VARIANT="Simulated OCI machine of the central data platform"' >>"$root/etc/os-release"

chroot "$root" systemctl --quiet enable cdp-sim-volumes.service cdp-sim-registry.service
# On the console they would ask for a login; the rest has nothing to do in a container.
chroot "$root" systemctl --quiet mask console-getty.service getty@tty1.service docker-registry.service \
  systemd-udevd.service dpkg-db-backup.timer fstrim.timer
