#!/bin/sh
# drift-issue.sh CODE FILE: one open issue for as long as the stack $STACK differs or cannot be looked at. CODE and FILE are drift.sh's.
#
# By GitHub's own client, which reads its token from GH_TOKEN; GITHUB_REPOSITORY is owner/name, RUN_URL the page of the run.
set -eu
code=$1
file=$2
mark="<!-- central-data-platform: drift of $STACK -->"
issues=repos/$GITHUB_REPOSITORY/issues
# Longer than any row of backticks in what was found.
fence='````````````'
body=$(mktemp)
trap 'rm -f "$body"' EXIT

number=$(gh api --paginate "$issues?state=open&per_page=100" \
  --jq ".[] | select(.user.type == \"Bot\" and (.body // \"\" | startswith(\"$mark\"))) | .number" | tail -n 1)

if [ "$code" = 0 ]; then
  [ -n "$number" ] || exit 0
  gh api --silent --method POST "$issues/$number/comments" --raw-field "body=Nothing differs any more: $RUN_URL"
  gh api --silent --method PATCH "$issues/$number" --raw-field state=closed
  exit 0
fi

title="$STACK: the host differs from what the program has made"
[ "$code" = 1 ] || title="$STACK: could not be looked at for drift"
{
  echo "$mark"
  echo "Found by [the nightly look]($RUN_URL), and again each night until it is repaired. What repairs it:"
  echo "docs/pull-requests.md, \"When there is drift\"."
  echo
  echo "$fence"
  # An issue holds 65536 characters.
  head -c 50000 "$file"
  echo
  echo "$fence"
} >"$body"
if [ -n "$number" ]; then
  gh api --silent --method PATCH "$issues/$number" --raw-field "title=$title" --field "body=@$body"
else
  gh api --silent --method POST "$issues" --raw-field "title=$title" --field "body=@$body"
fi
