# Sourced by the programs that stand in for those of Oracle Linux. Each says so, and notes how it was called in
# /var/lib/cdp-sim/calls: what would have happened on the real machine can be read there.
# shellcheck shell=sh

SHIM=$(basename "$0")
STATE=/var/lib/cdp-sim

fail() {
  echo "$SHIM (simulated machine): $1" >&2
  exit 1
}

say() { echo "$SHIM (simulated machine): $1" >&2; }

note_call() { # ARGUMENT...
  mkdir -p "$STATE"
  echo "$SHIM $*" >>"$STATE/calls"
}
