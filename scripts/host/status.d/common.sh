# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # $group, $answer and $why are for who reads this; $srv and $work are status.sh's
# What the files of checks share. Given by status.sh: $apps, $srv, $work (a folder for this run), and what containers.sh found.
set -eu
tab=$(printf '\t')
HOUR=3600 DAY=86400
compose=$srv/apps/postgres-stack/docker-compose.yml
# The title on the screen under which the checks stand.
group=

# One line a check. A detail says what is wrong and what to do about it; one line, without tabs.
check() { # NAME ok|warn|fail|unknown DETAIL [SINCE]
  printf '%s\t%s\t%s\t%s\t%s\n' "$group" "$1" "$2" "$3" "${4:-}"
}

unknown() { # WHY NAME...: so that nobody is told that it is well again
  reason=$1
  shift
  for name in "$@"; do check "$name" unknown "$reason"; done
}

# Whether a container runs; else $why not.
runs() { # NAME
  why="Docker does not answer"
  [ -e "$work/docker" ] || return 1
  status=$(awk -v name="$1" '$1 == name { print $2 }' "$work/containers")
  why="container $1 does not run"
  [ "$status" = running ]
}

# The last line that says something, without what psql says before its reason.
reason_of() { # FILE
  tr '\t' ' ' <"$1" | awk 'NF { line = $0 } END {
    sub(/^psql: error: (connection to server .* failed: )?/, "", line)
    print line == "" ? "it gave no reason" : substr(line, 1, 300)
  }'
}

# A question to somebody who may not answer: $answer, or where that fails, $why.
ask() { # SECONDS COMMAND...
  seconds=$1
  shift
  ended=0
  answer=$(timeout --kill-after=1 "$seconds" "$@" 2>"$work/said.$$") || ended=$?
  case $ended in
    0) return ;;
    124 | 137) why="no answer within $seconds s" ;;
    *) why=$(reason_of "$work/said.$$") ;;
  esac
  return 1
}

# One that is hung as well: psql gives up by itself, since ending docker exec does not end it.
sql() { # a query as standard input: $answer, its columns separated by |
  ask 6 docker exec --interactive --env PGCONNECT_TIMEOUT=4 \
    --env PGOPTIONS='-c search_path=pg_catalog,pg_temp -c role=none -c statement_timeout=4s -c client_min_messages=warning' \
    postgres-db psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
    --username=platform_admin --dbname=postgres --file=-
}

# ok, or what is left over is too little.
level() { # VALUE WARN-FROM FAIL-FROM
  if [ "$1" -ge "$3" ]; then
    echo fail
  elif [ "$1" -ge "$2" ]; then
    echo warn
  else
    echo ok
  fi
}

percent() { # PART WHOLE
  echo $(($1 * 100 / ($2 > 0 ? $2 : 1)))
}

seconds_since() { # UNIX SECONDS
  echo $(($(date +%s) - $1))
}

age() { # SECONDS, as a person says it
  if [ "$1" -lt 60 ]; then
    echo "$1 s"
  elif [ "$1" -lt $((2 * HOUR)) ]; then
    echo "$(($1 / 60)) min"
  elif [ "$1" -lt $((2 * DAY)) ]; then
    echo "$(($1 / HOUR)) h"
  else
    echo "$(($1 / DAY)) days"
  fi
}

size() { # BYTES, as a person says it
  numfmt --to=iec "$1"
}
