#!/bin/sh
# Turns a root file system with Debian's Python into what the official image holds.
#
#   setup.sh users ROOT     before the packages are installed
#   setup.sh finish ROOT    after that
set -eu

root=$2

# No user of its own, but the file of passwords that every Debian has and the essential packages do not bring.
users() { install -m 640 /dev/null "$root/etc/shadow"; }

finish() {
  # In the original, pip may install into the interpreter's own folder.
  rm "$root"/usr/lib/python3.*/EXTERNALLY-MANAGED
  # Compiled files differ from build to build.
  find "$root/usr" -name __pycache__ -type d -prune -exec rm -rf '{}' +
}

"$1"
