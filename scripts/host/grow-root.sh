#!/bin/sh
# grow-root.sh: give the root file system the whole boot volume, which Oracle's images leave partly unused.
#
# oci-growfs looks only at partitions. Where it was cut off after the partition, or where cloud-init has grown that, the
# volume group and the file system above it are left behind, so these are looked at here.
set -eu
growfs=/usr/libexec/oci-growfs
rescan=/sys/class/block/$(basename "$(readlink -f /dev/oracleoci/oraclevda)")/device/rescan

fail() {
  echo "$1" >&2
  exit 1
}

size() {
  df -Ph / | awk 'NR == 2 { print $2 }'
}

[ -x "$growfs" ] || dnf -y -q install oci-utils </dev/null >/dev/null ||
  fail "$growfs is missing and dnf could not install oci-utils (the lines above say why); see that the machine reaches Oracle's repositories, then run up again"
# A boot volume that was enlarged under a running machine.
[ ! -e "$rescan" ] || echo 1 >"$rescan"
before=$(size)
# Older ones exit with 1 where there is nothing to grow.
if ! said=$("$growfs" -y </dev/null 2>&1); then
  case $said in
    *NOCHANGE*) ;;
    *)
      printf '%s\n' "$said" >&2
      fail "oci-growfs could not grow the root file system (the lines above say why); correct it and run up again"
      ;;
  esac
fi
root=$(findmnt --noheadings --output SOURCE /)
case $(lsblk --noheadings --nodeps --output TYPE "$root" 2>/dev/null) in
  lvm)
    group=$(lvs --noheadings --options vg_name "$root" | tr -d ' ')
    for volume in $(pvs --noheadings --options pv_name --select "vg_name=$group"); do
      pvresize --quiet "$volume" >/dev/null
    done
    free=$(vgs --noheadings --options vg_free_count "$group" | tr -d ' ')
    [ "$free" = 0 ] || lvextend --quiet --extents +100%FREE --resizefs "$root" >/dev/null
    ;;
esac
if [ "$(findmnt --noheadings --output FSTYPE /)" = xfs ]; then
  xfs_growfs / >/dev/null
fi
after=$(size)
if [ "$after" = "$before" ]; then
  echo "the root file system has all of its boot volume already: $after"
else
  echo "the root file system has grown from $before to $after"
fi
