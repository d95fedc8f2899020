#!/bin/sh
# write-files.sh apply|check: write files, all of them or none, or say how they differ.
#
# Standard input is a list of whole files:
#
#   file MODE UID:GID BYTES PATH        then as many bytes as it says, and a line end
#   end                                 the last line: without it the sender was cut off, and nothing is done
#
# `check` prints a line for each difference.
set -eu
umask 077
action=$1

fail() {
  echo "$1" >&2
  exit 1
}

work=$(mktemp -d)
# With what has not got its name yet.
drop() {
  while IFS= read -r path; do rm -f "$path.new"; done <"$work/begun"
  rm -rf "$work"
}
trap drop EXIT
trap 'exit 130' HUP INT TERM
: >"$work/begun"
cat >"$work/list"
[ "$(tail -n 1 "$work/list")" = end ] ||
  fail "the files of the platform could not be looked at or written: their list was cut off on the way; the old ones stay, run up again"

# Everything but the last step: the file is whole, on the disk, and has its owner and mode. Its text is standard input.
prepare() { # MODE OWNER BYTES PATH
  folder=$(dirname "$4")
  [ -d "$folder" ] ||
    fail "cannot write $4: folder $folder is missing; is the data volume mounted? Bring the platform's folders back, then run up again"
  printf '%s\n' "$4" >>"$work/begun"
  # Made anew, so that it is root's alone until it is whole, whatever a killed write has left under this name.
  rm -f "$4.new"
  head -c "$3" >"$4.new"
  chown "$2" "$4.new"
  chmod "$1" "$4.new"
  if command -v restorecon >/dev/null; then restorecon "$4.new"; fi
  # On the disk before it has its name: after a power cut it is the old file or the new one, never an empty one.
  sync "$4.new"
}

differences() { # MODE OWNER BYTES PATH
  head -c "$3" >"$work/wanted"
  if [ ! -f "$4" ]; then
    echo "$4 is missing"
    return
  fi
  cmp -s "$work/wanted" "$4" || echo "$4 has another text"
  found=$(stat -c '0%a %u:%g' "$4")
  [ "$found" = "$1 $2" ] || echo "$4 has mode and owner $found, not $1 $2"
}

while read -r kind mode owner bytes path && [ "$kind" = file ]; do
  case $action in
    apply) prepare "$mode" "$owner" "$bytes" "$path" ;;
    check) differences "$mode" "$owner" "$bytes" "$path" ;;
  esac
  # The line end behind the text.
  read -r _
done <"$work/list"
[ "$kind" = end ] || fail "the list of files does not say where a file ends: $kind; nothing was written"
while IFS= read -r path; do mv -f "$path.new" "$path"; done <"$work/begun"
