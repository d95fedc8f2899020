#!/bin/sh
# configure-network.sh: take standard input, which ends with the line `# end`, as kernel parameters, now and at each boot.
set -eu
umask 022
file=/etc/sysctl.d/60-central-data-platform.conf

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
sysctl --quiet --load="$file" ||
  fail "the kernel refuses a parameter of $file (the lines above say which); is the image Oracle Linux 10?"
