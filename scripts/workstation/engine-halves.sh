#!/bin/sh
# engine-halves.sh: all engine tests, in two halves at the same time, each with a Docker engine and a network of its own.
#
# Tests with platforms of their own, on simulated machines too, wait for boots and SSH much of the time, and leave the processors
# to those that share one. A few of the latter come after them (mark `late`), so that the halves end together. Their output comes last,
# but for what has failed in either, which is said again, and last in a line each (tests/engine/failures.py).
set -eu
cd "$(dirname "$0")/../.."
tests=scripts/workstation/engine-tests.sh

# Tools and images are made once, and not by both at a time.
sh "$tests" --collect-only --quiet >/dev/null
said=$(mktemp) CDP_TEST_FAILURES=$(mktemp)
export CDP_TEST_FAILURES
trap 'rm -f "$said" "$CDP_TEST_FAILURES"' EXIT
trap 'exit 130' HUP INT TERM
code=0
sh "$tests" -m 'fresh or late' --durations=20 >"$said" 2>&1 &
fresh=$!
sh "$tests" -m 'not fresh and not late' --durations=25 || code=$?
wait "$fresh" || code=$?
cat "$said" "$CDP_TEST_FAILURES"
grep '^FAILED ' "$CDP_TEST_FAILURES" || true
exit "$code"
