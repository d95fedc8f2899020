#!/bin/sh
# configure-time.sh: keep the clock by OCI's own time source, which every instance reaches without the internet.
set -eu
umask 022
SOURCE=169.254.169.254
config=/etc/chrony.conf

fail() {
  echo "$1" >&2
  exit 1
}

command -v chronyd >/dev/null || dnf -y -q install chrony </dev/null >/dev/null ||
  fail "chrony is missing and dnf could not install it (the lines above say why); see that the machine reaches Oracle's repositories, then run up again"
[ -e "$config" ] || fail "$config is missing; put it back (dnf reinstall chrony), then run up again"
if ! grep -q "^server $SOURCE\b" "$config"; then
  {
    cat "$config"
    printf '%s\n' '' "# Made by configure-time.sh: OCI's time source." "server $SOURCE iburst"
  } >"$config.new"
  sync "$config.new"
  mv -f "$config.new" "$config"
fi
systemctl --quiet enable --now chronyd.service || fail "chronyd does not start; see journalctl --unit chronyd, then run up again"
# One that was started before the line was there.
chronyc -n sources | grep -qF " $SOURCE " || systemctl restart chronyd.service ||
  fail "chronyd does not start with OCI's time source; see journalctl --unit chronyd, then run up again"
