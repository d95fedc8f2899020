#!/bin/sh
# configure-sshd.sh: take standard input, which ends with the line `# end`, as sshd's first drop-in.
#
# The first value that sshd reads of an option counts, hence the name 00-…. Connections that are open stay open.
set -eu
umask 077
file=/etc/ssh/sshd_config.d/00-central-data-platform.conf
# sshd reads *.conf alone.
new=$file.new
old=$file.old

fail() {
  echo "$1" >&2
  exit 1
}

[ -d "${file%/*}" ] || fail "${file%/*} is missing, so this sshd reads no drop-ins; use an image of Oracle Linux 10"
cat >"$new"
[ "$(tail -n 1 "$new")" = "# end" ] ||
  fail "cannot write $file: its text was cut off on the way; the old file stays, run up again"
# By itself first: a fault in it never gets where a restart of sshd would find it.
sshd -t -f "$new" || fail "sshd refuses the new drop-in (the lines above say why); the old one stays"

unused() { # the first option of the file that is not in force
  effective=$(sshd -T) || return
  grep -v -e '^#' -e '^$' "$file" | while IFS= read -r option; do
    printf '%s\n' "$effective" | grep -qixF "$option" || {
      echo "$option"
      break
    }
  done
}

rm -f "$old"
[ ! -e "$file" ] || cp -p "$file" "$old"
sync "$new"
mv -f "$new" "$file"
if ! left_out=$(unused) || [ -n "$left_out" ]; then
  if [ -e "$old" ]; then mv -f "$old" "$file"; else rm -f "$file"; fi
  fail "sshd does not take the new drop-in together with its other files (${left_out:-see the lines above}); the old one is back, see sshd -T and the files in ${file%/*}"
fi
systemctl reload sshd.service || fail "sshd could not be reloaded; see journalctl --unit sshd, then run up again"
rm -f "$old"
