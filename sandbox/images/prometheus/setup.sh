#!/bin/sh
# Debian's prometheus and promtool as the published image has them, with an empty folder for the data.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/../monitoring-setup.sh" "$1" "$2" /usr/bin/prometheus /bin/prometheus
[ "$1" = users ] || install -d -o 65534 -g 65534 "$2/prometheus"
