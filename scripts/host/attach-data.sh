#!/bin/sh
# attach-data.sh DEVICE SRV_ROOT: have the data volume mounted at SRV_ROOT, now and at each boot.
#
# With the word `mounted` for DEVICE it keeps what is mounted there already, if anything is (bootstrap.sh).
# A file system is made only on a volume that holds nothing at all. At boot the machine does not wait for the volume for
# ever and comes up without it (nofail), so that somebody can log in; Docker does not start then (RequiresMountsFor), so
# that no container finds an empty SRV_ROOT. docker.socket needs no such line: all that it does is to start the service.
set -eu
umask 022
device=$1 srv=$2
WAIT_SECONDS=120
fstab=/etc/fstab
drop_ins=/etc/systemd/system/docker.service.d

fail() {
  echo "$1" >&2
  exit 1
}

replace() { # FILE, by standard input, all at once
  cat >"$1.new"
  sync "$1.new"
  mv -f "$1.new" "$1"
}

is_block_device() {
  # Its type in hexadecimal begins with 6. A file that somebody has made by writing to a path without a device is none.
  case $(stat --dereference --format %f "$device" 2>/dev/null) in 6*) return 0 ;; esac
  return 1
}

mounted_uuid() {
  findmnt --noheadings --output UUID --mountpoint "$srv"
}

if [ "$device" = mounted ]; then
  mountpoint -q "$srv" || {
    echo "$srv is a folder of the root file system: there is no volume to mount"
    exit 0
  }
  device=$(findmnt --noheadings --output SOURCE --mountpoint "$srv")
fi
seconds=0
until is_block_device; do
  [ "$seconds" -lt "$WAIT_SECONDS" ] ||
    fail "there is no block device $device after $WAIT_SECONDS s; see in OCI's console that the data volume is attached to this instance with that device path, then run up again"
  sleep 1
  seconds=$((seconds + 1))
done
if ! mountpoint -q "$srv" && [ -d "$srv" ] && [ -n "$(ls -A "$srv")" ]; then
  fail "$srv holds files on the root file system, which the data volume would hide; move them away, then run up again"
fi

dd if="$device" of=/dev/null bs=4096 count=1 iflag=direct status=none ||
  fail "$device cannot be read (the line above says why); look at the volume in OCI's console, nothing was written"
answer=0
facts=$(blkid --probe --output export "$device") || answer=$?
case $answer in
  0)
    printf '%s\n' "$facts" | grep -qx TYPE=xfs ||
      fail "$device is no data volume of this platform but holds $(printf '%s\n' "$facts" | grep -E '^(PT)?TYPE=' | head -n 1); attach an empty volume or the platform's own, nothing was written"
    # What mkfs.xfs leaves when it is cut off looks like a file system and is none yet.
    if ! mountpoint -q "$srv" && [ "$(xfs_db -r -c sb -c 'print inprogress' "$device")" = "inprogress = 1" ]; then
      mkfs.xfs -q -f "$device"
    fi
    ;;
  2)
    ! mountpoint -q "$srv" ||
      fail "$srv has another file system mounted while $device is empty; unmount it, or attach the volume that belongs there"
    # It looks for contents too, and refuses to overwrite any.
    mkfs.xfs -q "$device"
    ;;
  *) fail "blkid cannot tell what $device holds (exit code $answer); look at it with wipefs $device, nothing was written" ;;
esac
uuid=$(blkid --probe --output value --match-tag UUID "$device")
if mountpoint -q "$srv" && [ "$(mounted_uuid)" != "$uuid" ]; then
  fail "$srv has another file system mounted than that of $device (UUID $uuid); unmount it, then run up again"
fi

# As fstab(5) wants them: a blank ends a field.
where=$(printf '%s' "$srv" | sed 's/\\/\\134/g; s/ /\\040/g; s/\t/\\011/g')
[ -e "$fstab" ] || : >"$fstab"
# Without _netdev: a paravirtualized volume is a disk of the machine, there before any network.
lines=$(
  WHERE=$where awk '/^[ \t]*#/ || $2 != ENVIRON["WHERE"]' "$fstab"
  printf 'UUID=%s %s xfs defaults,nofail,x-systemd.device-timeout=%ss 0 0\n' "$uuid" "$where" "$WAIT_SECONDS"
)
[ "$(cat "$fstab")" = "$lines" ] || printf '%s\n' "$lines" | replace "$fstab"
mkdir -p "$drop_ins"
replace "$drop_ins/50-data-volume.conf" <<END
# Made by attach-data.sh: without the data volume Docker does not start.
[Unit]
RequiresMountsFor="$(printf '%s' "$srv" | sed 's/["\\]/\\&/g; s/%/%%/g')"
END
systemctl daemon-reload
mkdir -p "$srv"
mountpoint -q "$srv" || mount "$srv" ||
  fail "the data volume $device could not be mounted at $srv (the lines above say why); correct it and run up again"
[ "$(mounted_uuid)" = "$uuid" ] ||
  fail "what is mounted at $srv is not $device (UUID $uuid); see findmnt $srv, correct $fstab and run up again"
# A volume that was enlarged: first the disk, then the file system. Both do nothing where there is nothing to do.
rescan=/sys/class/block/$(basename "$(readlink -f "$device")")/device/rescan
[ ! -e "$rescan" ] || echo 1 >"$rescan"
xfs_growfs "$srv" >/dev/null
