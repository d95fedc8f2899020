#!/bin/sh
# configure-shutdown.sh: take standard input, which ends with the line `# end`, as the unit that stops the containers cleanly
# before the machine goes down.
#
# With live-restore Docker leaves its containers running when it ends, and at a shutdown systemd would then end PostgreSQL
# in its own way, without the time that it needs.
set -eu
umask 022
unit=central-data-platform-containers.service
file=/etc/systemd/system/$unit

fail() {
  echo "$1" >&2
  exit 1
}

mkdir -p "${file%/*}"
cat >"$file.new" || fail "cannot write $file.new (the line above says why); make room on the root file system, then run up again"
[ "$(tail -n 1 "$file.new")" = "# end" ] ||
  fail "cannot write $file: its text was cut off on the way; the old file stays, run up again"
sync "$file.new"
mv -f "$file.new" "$file"
systemctl daemon-reload
# Started now, so that it is there to be stopped.
systemctl --quiet enable --now "$unit" ||
  fail "$unit does not start; see systemctl status $unit, then run up again"
