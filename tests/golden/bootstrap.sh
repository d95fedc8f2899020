#!/bin/sh
# bootstrap.sh: what lives outside /srv is made again on a machine on which /srv was unpacked or mounted.
#
# Made by Pulumi, which runs the same scripts in the same order. Safe to run again, also after it was cut off. Then, in
# apps/postgres-stack: sudo docker compose --env-file ../../config/platform.env up -d
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"

fail() {
  echo "$1" >&2
  exit 1
}

step() { # SCRIPT [ARGUMENT...]
  echo "== $1"
  script=$1
  shift
  sh "bootstrap.d/$script" "$@" ||
    fail "bootstrap.sh ended at $script (the lines above say why); correct it, then run bootstrap.sh again"
}

[ "$(id -u)" = 0 ] || fail "only root can prepare the machine; run sudo $0"
step attach-data.sh mounted /srv </dev/null
step configure-docker.sh opc <<'END'
{
  "default-address-pools": [
    {
      "base": "172.30.0.0/16",
      "size": 24
    }
  ],
  "features": {
    "containerd-snapshotter": false
  },
  "live-restore": true,
  "log-driver": "json-file",
  "log-opts": {
    "max-file": "5",
    "max-size": "10m"
  },
  "selinux-enabled": true,
  "userland-proxy": true
}
END
echo "the machine is prepared"
