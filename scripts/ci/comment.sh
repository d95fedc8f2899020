#!/bin/sh
# comment.sh NUMBER FILE: FILE as the one comment of ours on pull request NUMBER: made, or, on later commits, changed.
#
# By GitHub's own client, which reads its token from GH_TOKEN; GITHUB_REPOSITORY is owner/name.
set -eu
number=$1
file=$2
# With it `make preview` begins (scripts/workstation/summary_pages.py).
mark='<!-- central-data-platform: preview -->'
comments=repos/$GITHUB_REPOSITORY/issues
body=$(mktemp)
trap 'rm -f "$body"' EXIT

{
  [ "$(head -n 1 "$file")" = "$mark" ] || echo "$mark"
  cat "$file"
} >"$body"
id=$(gh api --paginate "$comments/$number/comments?per_page=100" \
  --jq ".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$mark\"))) | .id" | tail -n 1)
if [ -n "$id" ]; then
  gh api --silent --method PATCH "$comments/comments/$id" --field "body=@$body"
else
  gh api --silent --method POST "$comments/$number/comments" --field "body=@$body"
fi
