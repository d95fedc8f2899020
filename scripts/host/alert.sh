#!/bin/sh
# alert.sh [test]: tell somebody once when a check of status.sh fails (and when the disk is above its mark), again each day
# while that lasts, and once when it is well again. With `test` it sends a message by every way and says what came of each.
#
# Ways: a webhook, whose address stands in a file alone, and an object in OCI, at whose coming OCI sends an e-mail.
# What each way has taken stands in backups/state/alerts.tsv, and only that: what failed is tried again by the next run.
# shellcheck source=scripts/host/backup.d/common.sh
. "$(dirname "$0")/backup.d/common.sh"
AGAIN_SECONDS=86400
STATUS_SECONDS=120
webhook=$srv/config/backup/webhook
told=$backups/state/alerts.tsv
ways=
[ ! -s "$webhook" ] || ways=webhook
[ -z "${ALERTS_TO:-}" ] || ways="$ways object"

from=$(json_text "central-data-platform $STACK on $(uname -n)")

message() { # CHECK STATE DETAIL SINCE TEXT: the last three as they stand in JSON
  printf '{"schema": 1, "stack": "%s", "host": "%s", "check": "%s", "state": "%s", "detail": "%s", "since": %s, "text": "%s: %s"}\n' \
    "$(json_text "$STACK")" "$(json_text "$(uname -n)")" "$1" "$2" "$3" "$4" "$from" "$5"
}

# Says why it did not arrive. curl's own words stay away: they may hold the address.
send() { # WAY CHECK STATE, and the message as standard input
  case $1 in
    webhook)
      ended=0
      answer=$(curl --disable --config "$webhook" --silent --output /dev/null --write-out '%{http_code}' --fail \
        --max-time 20 --retry 2 --retry-max-time 60 --header 'Content-Type: application/json' --data-binary @- 2>/dev/null 9>&-) ||
        ended=$?
      case $ended:$answer in
        0:2??) ;;
        *:000) echo "no answer (curl ended with $ended)" && return 1 ;;
        *) echo "it answered with HTTP status $answer" && return 1 ;;
      esac
      ;;
    object)
      words=$(timeout 60 rclone --config /dev/null --retries 2 \
        rcat "$ALERTS_TO/$(date -u +%Y%m%dT%H%M%SZ)-$2-$3.json" 2>&1 9>&-) || {
        printf 'rclone says: %s\n' "$(printf '%s\n' "${words:-nothing}" | tail -n 1 | cut -c 1-300)"
        return 1
      }
      ;;
  esac
}

# Name, state, detail and since of each check, the last two as they stand in JSON.
checks() {
  { timeout "$STATUS_SECONDS" sh "$apps/status.sh" --json 2>/dev/null 9>&- || :; } | LC_ALL=C tr -d '\000-\011\013-\037\177' |
    sed -n "s/,\$//; s/^ *{\"name\": \"\(.*\)\", \"state\": \"\(.*\)\", \"detail\": \"\(.*\)\", \"since\": \(.*\)}\$/\1$tab\2$tab\3$tab\4/p"
}

# What WAY has to be told: what has happened (new, still, well), and the check. A warning is no news: neither bad nor well again.
news() { # WAY
  WAY=$1 TOLD=$told NOW=$(date +%s) AGAIN=$AGAIN_SECONDS awk -F '\t' -v OFS='\t' '
    BEGIN {
      now = ENVIRON["NOW"]
      while ((getline line <ENVIRON["TOLD"]) > 0) {
        split(line, part, "\t")
        if (part[1] == ENVIRON["WAY"]) { state[part[2]] = part[3]; at[part[2]] = part[4] }
      }
    }
    { seen[$1]; if ($1 == "monitoring" && $2 != "fail") rules = 1; if ($1 == "status" || $1 ~ /-checks$/) partly = 1 }
    $2 == "fail" || $1 == "disk" && $2 == "warn" {
      if (!($1 in at) || state[$1] != $2) print "new", $0
      else if (now - at[$1] >= ENVIRON["AGAIN"] || at[$1] > now) print "still", $0
      next
    }
    $2 == "ok" && $1 in at { print "well", $0 }
    END {
      # Where status.sh, or a file of its checks, gave no whole answer, nothing is known of those that it does not name.
      if (!partly) for (name in at) if (!(name in seen)) {
        # A rule of monitoring: it is a check only while it fires, and where the store does not answer nobody knows.
        rule = name ~ /^alert-/
        if (rule && ("monitoring" in seen) && !rules) continue
        print "well", name, "ok", name == "status" ? "status.sh answers" : rule ? "it no longer fires" : "it is no longer checked", "null"
      }
    }'
}

remember() { # WAY CHECK [STATE]: without a state there is nothing to tell any more
  # All of it or nothing, on a full disk too: who has been told must not be forgotten.
  {
    { [ ! -e "$told" ] || WAY=$1 NAME=$2 awk -F '\t' '$1 != ENVIRON["WAY"] || $2 != ENVIRON["NAME"]' "$told"; } &&
      { [ -z "${3:-}" ] || printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$(date +%s)"; }
  } >"$told.new" && mv -f "$told.new" "$told"
}

tell() { # WAY; its news are standard input. The first one that it does not take ends it: the others would not arrive either.
  while IFS=$tab read -r what name state detail since; do
    case $what-$state in
      well-*) text="$name is well again: $detail" ;;
      new-fail) text="$name has failed: $detail" ;;
      still-fail) text="$name still fails: $detail" ;;
      *) text="$name needs attention: $detail" ;;
    esac
    if ! why=$(message "$name" "$state" "$detail" "$since" "$text" | send "$1" "$name" "$state"); then
      record alerts fail "$1 did not take the message about $name: $why"
      say "$1 did not take the message about $name and is asked again by the next run: $why"
      return 1
    fi
    if [ "$what" = well ]; then remember "$1" "$name"; else remember "$1" "$name" "$state"; fi
    record alerts ok "$1 took the message about $name"
    say "told by $1: $text"
  done
}

case ${1:-} in
  '') ;;
  test)
    [ -n "$ways" ] || fail "there is no way to tell anybody; set the secret alertWebhook, or alerts.email for a host in OCI, then run up"
    for way in $ways; do
      if why=$(message test ok "nothing is wrong" null "this is a test" | send "$way" test ok); then
        echo "$way: delivered"
      else
        echo "$way: not delivered: $why"
        failed=1
      fi
    done
    exit "${failed:-0}"
    ;;
  *)
    echo "usage: $0 [test]" >&2
    exit 2
    ;;
esac

[ -n "$ways" ] || exit 0
lock alert
mkdir -p "$backups/state"
found=$(checks)
[ -n "$found" ] || found="status${tab}fail${tab}status.sh did not answer within $STATUS_SECONDS s; run it by hand${tab}null"
for way in $ways; do
  printf '%s\n' "$found" | news "$way" | tell "$way" || failed=1
done
exit "${failed:-0}"
