#!/bin/sh
# machine-running.sh apply|check SRV_ROOT: what lives on the machine outside SRV_ROOT is as the scripts that prepared it left it.
#
# Standard input is a list: `file SHA256 PATH`, `unit NAME` of what systemd has to run, and `end` as the last line: without it the
# sender was cut off. apply has bootstrap.sh make all of it again, if something differs.
set -eu
action=$1 srv=$2

fail() {
  echo "$1" >&2
  exit 1
}

list=$(cat)
case $list in
  end | *"
end") ;;
  *) fail "the machine could not be looked at: the list of its files and units was cut off on the way; run up again" ;;
esac

check_kernel() {
  parameters=/etc/sysctl.d/60-central-data-platform.conf
  # A missing one is a difference already.
  [ -f "$parameters" ] || return 0
  sed -n 's/^\([a-z][^ =]*\) *= *\(.*\)$/\1 \2/p' "$parameters" | while read -r name value; do
    found=$(sysctl -n "$name" | tr '\t' ' ') || found=nothing
    [ "$found" = "$value" ] || echo "the kernel has $name = $found, not $value"
  done
}

check() {
  printf '%s\n' "$list" | while read -r kind first path; do
    case $kind in
      file)
        if [ ! -f "$path" ]; then
          echo "$path is missing"
        elif [ "$(sha256sum <"$path")" != "$first  -" ]; then
          echo "$path has another text"
        fi
        ;;
      unit)
        systemctl --quiet is-active "$first" || echo "$first does not run"
        systemctl --quiet is-enabled "$first" || echo "$first does not start at the next boot"
        ;;
    esac
  done
  check_kernel
  sh "$srv/apps/bootstrap.d/configure-firewall.sh" check
}

case $action in
  check) check ;;
  apply)
    [ -z "$(check)" ] || sh "$srv/apps/bootstrap.sh" >/dev/null
    ;;
  *) fail "usage: machine-running.sh apply|check SRV_ROOT" ;;
esac
