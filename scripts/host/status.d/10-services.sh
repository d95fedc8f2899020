# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# The containers, their health, and whether they run the images that `up` has pinned.
group=Services
# A container of another image may be just made by an `up` that is at work: the compose file is the last that it writes.
YOUNG_SECONDS=600

up_for() { # STARTED, as Docker writes it
  age "$(seconds_since "$(date -d "$1" +%s)")"
}

container() { # NAME
  # shellcheck disable=SC2046 # fields without blanks
  set -- "$1" $(awk -v name="$1" '$1 == name { $1 = ""; print }' "$work/containers")
  if [ $# = 1 ]; then
    check "$1" fail "no such container; run make up, or docker compose up -d in ${compose%/*}"
    return
  fi
  name=$1 status=$2 health=$3 code=$4 killed=$5 started=$7 ended=$8
  restarts="restarted $6 times"
  [ "$6" -gt 0 ] || restarts=
  case "$status $health" in
    "running healthy") check "$name" ok "healthy, up $(up_for "$started")${restarts:+, $restarts}" "$started" ;;
    "running starting") check "$name" warn "starting, for $(up_for "$started")${restarts:+, $restarts}" "$started" ;;
    "running none") check "$name" fail "runs without a health check, so it is not the platform's own; run make up ARGS=--refresh" "$started" ;;
    running*) check "$name" fail "$health, up $(up_for "$started")${restarts:+, $restarts}; see docker logs $name" "$started" ;;
    paused*) check "$name" fail "paused; docker unpause $name" "$started" ;;
    restarting*) check "$name" fail "it ends as soon as it starts, $restarts; see docker logs $name" "$started" ;;
    exited*)
      if [ "$killed" = true ]; then killed=" for lack of memory"; else killed=; fi
      check "$name" fail "ended $(up_for "$ended") ago with code $code$killed; docker start $name, or make up" "$ended"
      ;;
    *) check "$name" fail "$status; docker start $name, or make up" ;;
  esac
}

short() { # IMAGE: a digest by its first 12 characters, as Docker shows ids
  printf '%s\n' "$1" | sed 's/\(@sha256:.\{12\}\).*/\1/'
}

images() {
  state=ok wrong='' count=0
  while read -r name pin; do
    # shellcheck disable=SC2046 # fields without blanks
    set -- $(awk -v name="$name" '$1 == name { print $7, $11 }' "$work/containers")
    [ $# = 2 ] || continue
    count=$((count + 1))
    [ "$2" != "$pin" ] || continue
    wrong="$wrong${wrong:+, }$name runs $(short "$2") and not $(short "$pin")"
    if [ "$(seconds_since "$(date -d "$1" +%s)")" -ge "$YOUNG_SECONDS" ]; then
      state=fail
    elif [ "$state" = ok ]; then
      state=warn
    fi
  done <"$work/pins"
  case $state in
    ok) check images ok "all $count containers run what is pinned" ;;
    *) check images "$state" "$wrong; run make up ARGS=--refresh" ;;
  esac
}

if [ ! -e "$work/docker" ]; then
  check docker fail "the Docker engine does not answer; start it (systemctl start docker)"
  # shellcheck disable=SC2046 # names have no blanks
  unknown "Docker does not answer" $(cut -d ' ' -f 1 <"$work/pins" | grep -vx postgres-wal) images
  return
fi
check docker ok "version $(cat "$work/docker")"
while read -r name _; do
  # Check `wal` knows more of that one.
  [ "$name" = postgres-wal ] || container "$name"
done <"$work/pins"
if [ -r "$compose" ]; then
  images
else
  check images fail "$compose is missing, which says what is pinned; run make up ARGS=--refresh"
fi
