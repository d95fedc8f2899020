#!/bin/sh
# install-timers.sh SRV_ROOT: take standard input as the systemd units that run the platform's jobs by themselves.
#
# Each unit begins with the line `# unit: NAME` and has the line `# srv: SRV_ROOT`, which says whose it is; the last line of
# all is `# end`. Units of this SRV_ROOT that are no longer named go; those of another platform are never overwritten.
set -eu
umask 022
srv=$1
units=/etc/systemd/system

fail() {
  echo "$1" >&2
  exit 1
}

text=$(cat)
[ "$(printf '%s\n' "$text" | tail -n 1)" = "# end" ] ||
  fail "cannot write the units of the timers: their text was cut off on the way; the old ones stay, run up again"
if [ ! -d /run/systemd/system ]; then
  echo "no systemd here: nothing runs by itself; run backup.sh, drill.sh by hand (make backup, make drill)"
  exit 0
fi

is_ours() { # FILE
  grep -qxF "# srv: $srv" "$1"
}

names=$(printf '%s\n' "$text" | sed -n 's/^# unit: //p')
trap 'rm -f "$units"/central-data-platform-*.new' EXIT
for name in $names; do
  printf '%s\n' "$name" | grep -qxE 'central-data-platform-[a-z-]+\.(service|timer)' ||
    fail "$name is no name of a unit of this platform; nothing was written"
  [ ! -e "$units/$name" ] || is_ours "$units/$name" ||
    fail "$units/$name belongs to another platform of this machine ($(sed -n 's/^# srv: //p' "$units/$name")); one machine runs the timers of one: remove the other's with remove-timers.sh, then run up again"
  printf '%s\n' "$text" | NAME=$name awk '
    $0 == "# end" { exit }
    /^# unit: / { wanted = $0 == "# unit: " ENVIRON["NAME"] }
    wanted' >"$units/$name.new"
  is_ours "$units/$name.new" || fail "the text of $name does not say that it is of $srv (# srv: $srv); nothing was written"
done

for name in $names; do
  sync "$units/$name.new"
  mv -f "$units/$name.new" "$units/$name"
done
for file in "$units"/central-data-platform-*.service "$units"/central-data-platform-*.timer; do
  name=${file##*/}
  if [ ! -e "$file" ] || ! is_ours "$file" || printf '%s\n' "$names" | grep -qxF "$name"; then continue; fi
  # What runs at the moment goes on to its end.
  case $name in *.timer) systemctl --quiet disable --now "$name" ;; esac
  rm "$file"
done
systemctl daemon-reload
for name in $names; do
  case $name in *.timer) ;; *) continue ;; esac
  systemctl --quiet enable "$name"
  # Also one that runs already: its times may be others now.
  systemctl restart "$name" || fail "$name does not start; see systemctl status $name, then run up again"
done
