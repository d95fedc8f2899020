#!/bin/sh
# write-file.sh PATH MODE UID:GID END: replace a file by standard input, all at once or not at all.
#
# Standard input ends with a line of its own, END, which does not become part of the file: a sender that was killed half-way
# looks like the end of the file otherwise.
set -eu
umask 077
path=$1 mode=$2 owner=$3 end=$4
# Always this name: what a write that was killed has left of a secret is gone with the next one.
new=$path.new

fail() {
  echo "$1" >&2
  exit 1
}

folder=$(dirname "$path")
[ -d "$folder" ] ||
  fail "cannot write $path: folder $folder is missing; is the data volume mounted? Bring the platform's folders back, then run up again"
trap 'rm -f "$new"' EXIT
trap 'exit 130' HUP INT TERM
# Made anew, so that it is root's alone until it is whole.
rm -f "$new"
cat >"$new"
[ "$(tail -n 1 "$new")" = "$end" ] || fail "cannot write $path: its text was cut off on the way; the old file stays, run up again"
# Less the line END and the two line ends around it.
truncate --size="-$((${#end} + 2))" "$new"
chown "$owner" "$new"
chmod "$mode" "$new"
if command -v restorecon >/dev/null; then restorecon "$new"; fi
# On the disk before it has its name: after a power cut it is the old file or the new one, never an empty one.
sync "$new"
mv -f "$new" "$path"
