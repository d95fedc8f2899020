#!/bin/sh
# drift.sh FILE: look for drift of the stack $STACK and write what was found to FILE.
#
# Ends with 0 where nothing differs, 1 where something does, 2 where the host could not be looked at.
set -eu
file=$1
make --no-print-directory venv
code=0
# Not by make, which ends with 2 whatever its command ended with.
.venv/bin/python -m scripts.workstation.drift >"$file" 2>&1 || code=$?
cat "$file"
[ "$code" -le 1 ] || code=2
exit "$code"
