#!/bin/sh
# checks.sh: every fast check: format, lint, types, shell, workflows, unit tests. All of them run; any that fails makes it fail.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PWD/.venv/bin:$PATH
export PATH
failed=

check() {
  title=$1
  shift
  echo "== $title"
  "$@" || failed="$failed${failed:+, }$title"
}

# Untracked ones too, and none that is deleted but still in git's index.
on_shell_scripts() {
  git ls-files --cached --others --exclude-standard -- '*.sh' | sort -u |
    while IFS= read -r name; do if [ -f "$name" ]; then echo "$name"; fi; done |
    xargs "$@"
}

check "ruff format" ruff format --check --quiet .
check "ruff check" ruff check --quiet .
check pyright pyright
check shellcheck on_shell_scripts shellcheck
check shfmt on_shell_scripts shfmt -d -i 2 -ci
check actionlint python -m scripts.workstation.actionlint
check zizmor zizmor --offline --persona auditor --no-progress --quiet .github
# Property tests compare our quoting with compose's own reading.
check "docker compose" python -m scripts.workstation.compose_plugin
check "unit tests" python -m pytest --quiet --numprocesses auto tests --ignore=tests/engine
[ -z "$failed" ] || {
  echo "failed: $failed" >&2
  exit 1
}
echo "all checks passed"
