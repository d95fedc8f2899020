#!/bin/sh
# venv.sh [sync|lock]: make .venv from requirements.lock (the default), or write requirements.lock anew from pyproject.toml.
#
# Quick when nothing has changed: a stamp in .venv holds the lock's checksum and the checkout's path (a virtual
# environment cannot be moved).
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
cache=${CDP_CACHE_DIR:-$HOME/.cache/central-data-platform}
state=${CDP_STATE_DIR:-$root/.state}
uv_version=0.13.9
stamp=.venv/.made-from

fail() {
  echo "$1" >&2
  exit 1
}

checksum() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

bare_debian() {
  [ "$(id -u)" = 0 ] && [ -r /etc/debian_version ] && command -v apt-get >/dev/null 2>&1
}

apt_install() {
  echo "Installing $* by apt (once, less than a minute)" >&2
  mkdir -p "$state/logs"
  {
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
  } </dev/null >"$state/logs/apt-python.log" 2>&1 ||
    fail "apt could not install $*: see $state/logs/apt-python.log"
}

# The first interpreter that is new enough; prints nothing when there is none.
new_python() {
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$name"
      return
    fi
  done
}

require_python() {
  python=$(new_python)
  if [ -z "$python" ] && bare_debian && ! command -v python3 >/dev/null 2>&1; then
    apt_install python3 python3-venv python3-pip
    python=$(new_python)
  fi
  [ -n "$python" ] && return
  found=$(python3 --version 2>/dev/null || echo 'no python3')
  fail "Python 3.11 or newer is needed and $found is what PATH has; install it (Debian 12 and newer: apt install python3 python3-venv python3-pip)"
}

# Sets $uv: the one on PATH, else a pinned one from PyPI in the cache.
require_uv() {
  if command -v uv >/dev/null 2>&1; then
    uv=uv
    return
  fi
  uv=$cache/uv-$uv_version/bin/uv
  [ -x "$uv" ] && return
  if ! "$python" -m pip --version >/dev/null 2>&1; then
    bare_debian || fail "neither uv nor pip is there to make .venv; install one of them (Debian, Ubuntu: sudo apt install python3-venv python3-pip)"
    apt_install python3-venv python3-pip
    # The one that apt gave pip to may be another than the first on PATH.
    "$python" -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
  fi
  mkdir -p "$cache" "$state/logs"
  rm -rf "$cache/uv-$uv_version.new"
  "$python" -m pip install -q --no-input --disable-pip-version-check --target "$cache/uv-$uv_version.new" "uv==$uv_version" \
    </dev/null >"$state/logs/uv.log" 2>&1 || fail "pip could not install uv $uv_version: see $state/logs/uv.log"
  rm -rf "$cache/uv-$uv_version"
  mv "$cache/uv-$uv_version.new" "$cache/uv-$uv_version"
}

sync() {
  wanted="$(checksum requirements.lock) $root"
  [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  echo "Making .venv from requirements.lock (seconds to a minute)" >&2
  require_python
  require_uv
  mkdir -p "$state/logs"
  rm -rf .venv
  {
    UV_PYTHON_DOWNLOADS=never "$uv" venv --python "$python" .venv &&
      "$uv" pip sync --require-hashes --python .venv/bin/python requirements.lock
  } </dev/null >"$state/logs/venv.log" 2>&1 || fail "uv could not make .venv: $(tail -n 1 "$state/logs/venv.log"); see $state/logs/venv.log"
  compile_imports
  printf '%s\n' "$wanted" >"$stamp"
}

# uv installs without bytecode. Python writes it as it imports, except where PYTHONDONTWRITEBYTECODE is set, as in many
# containers and CI images: there each of the five processes of an `up` would compile all of its packages again, 2 s in all.
# By importing, since most of pulumi_oci (150 MB) is never needed.
compile_imports() {
  env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -W ignore -c '
import components.hosts.oci, components.platform, policy.pack, pulumi.provider.experimental' ||
    fail "the packages in .venv cannot be imported; remove .venv and run this again"
}

lock() {
  require_python
  require_uv
  "$uv" pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --group dev pyproject.toml \
    -o requirements.lock </dev/null
  echo "requirements.lock is written"
}

case ${1:-sync} in
  sync) sync ;;
  lock) lock ;;
  *) fail "usage: $0 [sync|lock]" ;;
esac
