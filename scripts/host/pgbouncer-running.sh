#!/bin/sh
# pgbouncer-running.sh apply|check SRV_ROOT: the running PgBouncer has the configuration of its files. No connection is dropped.
#
# Standard input is what the files have to be, as sha256sum writes it, and the last line `end`. apply has them read again, which
# also takes back what was SET on the console.
set -eu
action=$1 srv=$2
# Not `docker kill`: with any signal it marks the container as stopped by hand, and `unless-stopped` no longer restarts it.
RELOAD='kill -HUP 1'

fail() {
  echo "$1" >&2
  exit 1
}

sums=$(cat)
case $sums in
  end | *"
end") ;;
  *) fail "PgBouncer's configuration could not be looked at or read again: the list of its files was cut off on the way; run up again" ;;
esac

# What is neither as pgbouncer.ini says nor, where it says nothing, as PgBouncer comes; what can change while it runs.
differing() {
  [ -x "$srv/apps/pooler.sh" ] || {
    echo "the settings of the running PgBouncer are not known without $srv/apps/pooler.sh"
    return
  }
  "$srv/apps/pooler.sh" show config | awk -F '|' '
    function bare(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }
    FNR == NR {
      if (/^\[/) section = bare($0)
      else if (section == "[pgbouncer]" && match($0, /=/) && !/^[ \t]*[;#]/) said[bare(substr($0, 1, RSTART - 1))] = bare(substr($0, RSTART + 1))
      next
    }
    NF == 4 && $4 ~ /yes/ {
      key = bare($1); value = bare($2); own = bare($3)
      if (key == "conffile") next
      if (key in said && value != said[key]) print "PgBouncer has " key " = " value ", not " said[key]
      else if (!(key in said) && value != own && value + 0 != own + 0) print "PgBouncer has " key " = " value ", not its default " own
    }' "$srv/config/pgbouncer/pgbouncer.ini" -
}

check() {
  printf '%s\n' "${sums%end}" | sed '/^$/d' | sha256sum --check --quiet 2>/dev/null | sed 's/: FAILED.*/ has another text, and PgBouncer may have read it/' || :
  differing
}

case $action in
  apply) docker exec pgbouncer sh -c "$RELOAD" ;;
  check)
    if [ "$(docker container inspect --format '{{.State.Running}}' pgbouncer 2>/dev/null)" = true ]; then
      check
    else
      echo "pgbouncer is not running"
    fi
    ;;
  *) fail "usage: pgbouncer-running.sh apply|check SRV_ROOT" ;;
esac
