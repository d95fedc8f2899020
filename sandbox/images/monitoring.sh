#!/bin/sh
# Builds and serves the images for monitoring, in which provide.sh has no part, as those are on by a setting: from Debian forky,
# whose versions are those of the published images. Grafana is not among them: no package registry has it.
#
#   monitoring.sh BASE CATALOGUE      CATALOGUE is written: the images of the catalogue BASE, and these
set -eu

here=$(cd "$(dirname "$0")" && pwd)
NAMES="prometheus node-exporter postgres-exporter pgbouncer-exporter redis-exporter"

[ $# -eq 2 ] || {
  echo "monitoring.sh: usage: monitoring.sh BASE CATALOGUE" >&2
  exit 1
}
"$here/more.sh" monitoring "$2.own" "$NAMES" monitoring-setup.sh
python3 - "$1" "$2.own" "$2" <<'END'
import json, sys
base, own = (json.load(open(name)) for name in sys.argv[1:3])
with open(sys.argv[3], "w") as file:
    json.dump(base | own, file, indent=2)
END
rm "$2.own"
