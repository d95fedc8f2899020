#!/bin/sh
# provide.sh: restic and rclone for the engine tests. What is there is left alone; else they are Debian's packages.
set -eu
if command -v restic >/dev/null && command -v rclone >/dev/null; then exit 0; fi
exec "$(dirname "$0")/../docker/ensure-packages.sh" restic rclone
