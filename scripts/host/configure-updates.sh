#!/bin/sh
# configure-updates.sh: take standard input, which ends with the line `# end`, as dnf-automatic's configuration, and run that daily.
set -eu
umask 022
config=/etc/dnf/automatic.conf

fail() {
  echo "$1" >&2
  exit 1
}

cat >"$config.new" || fail "cannot write $config.new (the line above says why); use an image of Oracle Linux 10"
[ "$(tail -n 1 "$config.new")" = "# end" ] ||
  fail "cannot write $config: its text was cut off on the way; the old file stays, run up again"
rpm -q dnf-automatic >/dev/null 2>&1 || dnf -y -q install dnf-automatic </dev/null >/dev/null ||
  fail "dnf-automatic could not be installed (the lines above say why); see that the machine reaches Oracle's repositories, then run up again"
sync "$config.new"
mv -f "$config.new" "$config"
systemctl --quiet enable --now dnf-automatic.timer ||
  fail "dnf-automatic.timer does not start; see systemctl status dnf-automatic.timer, then run up again"
