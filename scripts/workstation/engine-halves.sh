#!/bin/sh
# engine-halves.sh: all engine tests, in two halves at the same time, each with a Docker engine and a network of its own.
#
# The tests of simulated machines wait for boots and SSH most of the time, and leave the processors to the others. Their output
# comes last.
set -eu
cd "$(dirname "$0")/../.."
tests=scripts/workstation/engine-tests.sh

# Tools and images are made once, and not by both at a time.
sh "$tests" --collect-only --quiet >/dev/null
said=$(mktemp)
trap 'rm -f "$said"' EXIT
trap 'exit 130' HUP INT TERM
code=0
sh "$tests" -m machine --durations=15 >"$said" 2>&1 &
machines=$!
sh "$tests" -m 'not machine' --durations=25 || code=$?
wait "$machines" || code=$?
cat "$said"
exit "$code"
