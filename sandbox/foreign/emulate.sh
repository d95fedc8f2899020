#!/bin/sh
# Lets programs of the other architecture run on this machine, in containers too: qemu by the kernel's binfmt_misc.
#
#   emulate.sh start|stop
#
# `start` says "registered" where it was not so before; who reads this has to `stop` in the end. The kernel opens the emulator
# when it is registered (flag F of the package's own line), so containers need no copy of it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kernel=/proc/sys/fs/binfmt_misc

die() {
  echo "emulate.sh: $1" >&2
  exit 1
}

# shellcheck source=sandbox/foreign/architecture.sh
. "$here/architecture.sh"
[ "$(id -u)" = 0 ] || die "only root can register an emulator with the kernel: run it with sudo"

start() {
  "$here/../docker/ensure-packages.sh" qemu-user-static
  [ -e "$kernel/register" ] || mount -t binfmt_misc binfmt_misc "$kernel" 2>/dev/null ||
    die "this kernel has no binfmt_misc, so nothing of $foreign runs here: load its module (modprobe binfmt_misc)"
  if grep -qsx enabled "$kernel/qemu-$machine" && grep -qs '^flags:.*F' "$kernel/qemu-$machine"; then return; fi
  [ ! -e "$kernel/qemu-$machine" ] ||
    die "an emulator of $foreign is registered that does not work in containers (no flag F): remove $kernel/qemu-$machine by writing -1 to it"
  cat "/usr/lib/binfmt.d/qemu-$machine.conf" >"$kernel/register" ||
    die "the kernel does not take the emulator of $foreign: is binfmt_misc writable in this container?"
  echo registered
}

stop() {
  [ ! -e "$kernel/qemu-$machine" ] || echo -1 >"$kernel/qemu-$machine"
}

case ${1:-} in
  start | stop) "$1" ;;
  *) die "usage: emulate.sh start|stop" ;;
esac
