#!/bin/sh
# Installs those of the named Debian packages that are missing; quick and silent when there are none.
#
#   ensure-packages.sh PACKAGE...
set -eu

die() {
  echo "ensure-packages.sh: $1" >&2
  exit 1
}

missing() {
  for package; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

command -v apt-get >/dev/null || die "this machine has no apt-get: install these yourself: $*"
wanted=$(missing "$@")
[ -n "$wanted" ] || exit 0
[ "$(id -u)" = 0 ] || die "only root can install packages: run 'sudo apt-get install' for: $(echo "$wanted" | xargs)"

log=$(mktemp "${TMPDIR:-/tmp}/ensure-packages.XXXXXX")
install() {
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends \
    $wanted </dev/null >>"$log" 2>&1
}

# The lists on the machine are usually good enough; fetching new ones takes longer than the packages.
if ! install; then
  apt-get -o DPkg::Lock::Timeout=300 update </dev/null >>"$log" 2>&1 ||
    die "apt-get update failed: see $log"
  install || die "apt-get could not install $(echo "$wanted" | xargs): see $log"
fi
rm -f "$log"
