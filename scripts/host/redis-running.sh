#!/bin/sh
# redis-running.sh apply|check: the running Redis has the users of standard input, and no others, and its settings.
#
# Its first line is the AUTH command of user operator, each further one a user of users.acl: user NAME RULES, or a setting:
# config NAME VALUE; the last one is `end`: a list that was cut off on the way would delete users. apply takes away what an
# earlier `up` has added beside: a replaced password, a user who is no longer there, whose connections end.
set -eu
action=$1
# A user who cannot log in, by whom the server says how it writes rules down: they compare as it writes them.
SAMPLE=platform-check

fail() {
  echo "$1" >&2
  exit 1
}

work=$(mktemp -d)
umask 077
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
cat >"$work/list"
[ "$(tail -n 1 "$work/list")" = end ] ||
  fail "the users and settings of Redis could not be looked at or changed: their list was cut off on the way; run up again"
sed -n 's/^user //p' "$work/list" >"$work/users"
sed -n 's/^config //p' "$work/list" >"$work/settings"

# The output is looked at, since redis-cli exits with 0 whatever the server says.
cli() { # commands on standard input
  { sed -n 1p "$work/list" && cat; } | docker exec --interactive redis-cache redis-cli
}

must() {
  answers=$(cli)
  wrong=$(printf '%s\n' "$answers" | grep -E '^(ERR|WRONGPASS|NOAUTH|NOPERM|Error|Could not)' | head -n 1) || :
  [ -z "$wrong" ] ||
    fail "Redis refused a change of its users or settings: $wrong; after a new saltKey, restart it with: docker restart redis-cache"
}

strangers() {
  echo 'ACL USERS' | cli | sed 1d | grep -vxF -e '' -f "$work/names" || :
}

apply() {
  while read -r name rules; do
    printf 'ACL SETUSER %s reset %s\n' "$name" "$rules"
  done <"$work/users" | must
  others=$(strangers)
  [ -z "$others" ] || printf '%s\n' "$others" | sed 's/.*/ACL DELUSER "&"/' | must
  while read -r name value; do
    printf 'CONFIG SET %s "%s"\n' "$name" "$value"
  done <"$work/settings" | must
}

differing() {
  while read -r _ rules; do
    printf 'ACL SETUSER %s reset %s off\nACL LIST\nACL WHOAMI\n' "$SAMPLE" "$rules"
  done <"$work/users" >"$work/questions"
  cli <"$work/questions" | SAMPLE=$SAMPLE awk '
    FNR == NR { names[FNR] = $1; state[$1] = $2; next }
    $1 == "user" { name = $2; is[name] = $3; sub(/^user [^ ]+ (on|off) /, ""); has[name] = $0 }
    $0 == "operator" {
      user = names[++count]
      if (!(user in has)) print "Redis user " user " is missing"
      else if (is[user] != state[user]) print "Redis user " user " is " is[user]
      else if (has[user] != has[ENVIRON["SAMPLE"]]) print "Redis user " user " has other rights or passwords"
      delete has
    }' "$work/users" -
}

# CONFIG GET answers with a setting's name and value, each on a line.
differing_settings() {
  while read -r name _; do
    echo "CONFIG GET $name"
  done <"$work/settings" >"$work/questions"
  cli <"$work/questions" | sed 1d | awk '
    FNR == NR { name = $1; wanted[name] = substr($0, length(name) + 2); next }
    $0 in wanted && !waiting { name = $0; waiting = 1; next }
    waiting { if ($0 != wanted[name]) print "Redis has " name " = " $0 ", not " wanted[name]; waiting = 0 }' "$work/settings" -
}

check() {
  if [ "$(docker container inspect --format '{{.State.Running}}' redis-cache 2>/dev/null)" != true ]; then
    echo "redis-cache is not running"
  elif [ "$(echo 'ACL WHOAMI' | cli | sed 1d)" != operator ]; then
    echo "Redis does not take the password of its user operator"
  else
    differing
    echo "ACL DELUSER $SAMPLE" | must
    strangers | sed 's/.*/Redis user & is not of the platform/'
    differing_settings
  fi
}

cut -d ' ' -f 1 "$work/users" >"$work/names"
case $action in
  apply) apply ;;
  check) check ;;
  *) fail "usage: redis-running.sh apply|check" ;;
esac
