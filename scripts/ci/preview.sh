#!/bin/sh
# preview.sh FILE: preview the stack $STACK, and write what a pull request shows of it to FILE, as Markdown. Ends as the preview did.
#
# GITHUB_SHA or CI_COMMIT_SHA names the commit, RUN_URL the page of the run; both may be missing.
set -eu
file=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rm -f "$file"
{
  code=0
  make --no-print-directory preview ARGS="--diff --color=never --non-interactive --summary $file" || code=$?
  echo "$code" >"$work/code"
} 2>&1 | tee "$work/said"
code=$(cat "$work/code")

# What stopped it before there was anything to sum up.
if [ ! -s "$file" ]; then
  # Longer than any row of backticks in what was said.
  fence='````````````'
  {
    echo "## Preview of stack $STACK"
    echo
    echo "**There is none**: nothing can be said of what \`up\` would do. The last lines:"
    echo
    echo "$fence"
    tail -n 20 "$work/said" | tail -c 20000
    echo "$fence"
  } >"$file"
fi
commit=${GITHUB_SHA:-${CI_COMMIT_SHA:-}}
[ -z "$commit" ] || printf '\nOf commit %s.\n' "$commit" >>"$file"
[ -z "${RUN_URL:-}" ] || printf '\n[The whole run](%s)\n' "$RUN_URL" >>"$file"
exit "$code"
