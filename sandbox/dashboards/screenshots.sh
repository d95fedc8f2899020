#!/bin/sh
# Makes docs/monitoring/*.png anew: our dashboards in Chromium, from the Prometheus of a test platform that has worked for some minutes.
# The platform runs on an engine of its own, or on that of CDP_TEST_DOCKER_HOST, as in engine-tests.sh. Ten minutes.
set -eu
cd "$(dirname "$0")/../.."

sh sandbox/docker/ensure-packages.sh chromium fonts-inter pngquant
sh scripts/workstation/venv.sh
viewer=$(sh sandbox/dashboards/provide.sh)
mkdir -p docs/monitoring
CDP_TEST_MODULE=sandbox.dashboards sh scripts/workstation/engine-tests.sh "$viewer" docs/monitoring
# Few colours, so a palette halves them.
pngquant --strip --force --ext .png docs/monitoring/*.png
