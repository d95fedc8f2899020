#!/bin/sh
# status.sh [--json] [--color|--no-color]: is the platform well? One screen; exits with 1 when something needs a person.
#
# JSON: {schema: 1, generated, checks: [{name, state: ok|warn|fail|unknown, detail, since}]}
#
# The checks are the numbered files of status.d, which run side by side; the numbers are their order on the screen. Each is
# ended after LIMIT seconds, so that there is an answer whatever hangs.
set -eu
apps=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
srv=$(dirname "$apps")
LIMIT=9
form=screen
color=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then color=yes; fi
for word in "$@"; do
  case $word in
    --json) form=json ;;
    --color) color=yes ;;
    --no-color) color= ;;
    *)
      echo "usage: $0 [--json] [--color|--no-color]" >&2
      exit 2
      ;;
  esac
done

# In memory where that can be had: a full disk is one of the things to be told.
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
export apps srv work
# shellcheck source=scripts/host/status.d/common.sh
. "$apps/status.d/common.sh"
# shellcheck source=scripts/host/status.d/containers.sh
. "$apps/status.d/containers.sh"
# shellcheck source=scripts/host/status.d/show.sh
. "$apps/status.d/show.sh"

# In a shell of its own, whose $0 is this script.
run_file() { # FILE: its checks are $work/NAME
  name=$(basename "$1" .sh)
  ended=0
  # shellcheck disable=SC2016 # for that shell
  timeout --kill-after=1 "$LIMIT" sh -c '. "$apps/status.d/common.sh" && . "$1"' "$0" "$1" </dev/null >"$work/$name.checks" || ended=$?
  case $ended in
    0) return ;;
    124 | 137) why="they were not done within $LIMIT s" ;;
    *) why="they broke off; what they say on standard error is the reason" ;;
  esac
  group='Checks that did not end'
  check "${name#*-}-checks" fail "not all of these checks were made: $why" >>"$work/$name.checks"
}

look_at_containers
for file in "$apps"/status.d/[0-9]*.sh; do run_file "$file" & done
wait
cat "$work"/*.checks >"$work/found"
"as_$form" <"$work/found"
! grep -q "${tab}fail${tab}\|${tab}unknown${tab}" "$work/found"
