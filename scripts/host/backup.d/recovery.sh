# shellcheck shell=sh
# shellcheck disable=SC2154 # set by common.sh and by who reads this
# What pitr.sh and drill.sh share: a base backup and WAL become a server that has recovered to a target.
#
# Who reads this has read common.sh, and sets $from (a folder with base/ and wal/), $bases ($from/base), $copy and $new (the
# data, when they are whole and before that), $container and $client, $lineage (a timeline), and a target: $target as it was
# said, $kind and $wanted as PostgreSQL is told, $second for a time, $marked for a name. It defines
# `run_copy POSTGRES-ARGUMENT...`, which starts $container with $copy as its data and $from/wal as /wal.
keeper=$apps/backup.d/wal.sh

# --- what there is ---

at_clock() { # UNIX SECONDS
  date -u -d "@$1" '+%Y-%m-%d %H:%M:%S+00'
}

number() { # LSN
  echo $((0x${1%/*} * 4294967296 + 0x${1#*/}))
}

newest_timeline() {
  {
    echo 1
    for id in $(ids); do value "$id" TIMELINE; done
    for file in "$from"/wal/*.history; do
      file=${file##*/}
      case $file in \**) ;; *) echo $((0x${file%.history})) ;; esac
    done
  } | sort -n | tail -n 1
}

# A base is of use when the timeline has come from where it ends.
in_lineage() { # ID
  of=$(value "$1" TIMELINE)
  [ "$of" != "$lineage" ] || return 0
  left=$(awk -v of="$of" '$1 == of { print $2 }' "$from/wal/$(printf '%08X' "$lineage").history" 2>/dev/null)
  [ -n "$left" ] && [ "$(number "$(value "$1" LAST_LSN)")" -le "$(number "$left")" ]
}

# LSN and time of the last commit in the segments of standard input, oldest first; nothing where there is none.
last_commit() {
  # shellcheck disable=SC2016,SC2046 # for the shell in the container; one word a segment
  in_client --volume "$from/wal:/wal:ro" --tmpfs /tmp --entrypoint sh "$POSTGRES_IMAGE" -c '
    for name; do
      for file in /wal/$name /wal/past/$name /wal/$name.partial /wal/past/$name.partial; do
        if [ -f "$file" ]; then cp "$file" "/tmp/$name"; elif [ -f "$file.gz" ]; then gzip -dc "$file.gz" >"/tmp/$name"; else continue; fi
        found=$(pg_waldump --rmgr=Transaction "/tmp/$name" 2>/dev/null |
          sed -n "s/.* lsn: \([0-9A-F/]*\),.* desc: COMMIT \([0-9-]* [0-9:.]*\) UTC.*/\1 \2/p" | tail -n 1)
        rm "/tmp/$name"
        if [ -n "$found" ]; then
          echo "$found"
          exit
        fi
      done
    done' sh $(tail -n 200 | sed '1!G; h; $!d')
}

# --- the base backup ---

# Whether recovery to the target can begin at a base: everything of it is before the target.
before_target() { # ID
  case $kind in
    latest) ;;
    time) [ "$(value "$1" FINISHED)" -lt "$second" ] ;;
    xid) [ "$(value "$1" NEXT_XID)" -le "$wanted" ] ;;
    lsn) [ "$(number "$(value "$1" LAST_LSN)")" -le "$(number "$wanted")" ] ;;
    name) [ -z "$marked" ] || [ "$(number "$(value "$1" LAST_LSN)")" -le "$(number "$marked")" ] ;;
  esac
}

# The bases from which the target can be reached, the best first.
candidates() {
  cluster=$(value "$(ids | tail -n 1)" SYSTEM_ID)
  for id in $(ids | sort -r); do
    if [ "$(value "$id" SYSTEM_ID)" = "$cluster" ] && in_lineage "$id" && before_target "$id" && chain "$id" >/dev/null; then echo "$id"; fi
  done | if [ "$kind" = name ] && [ -z "$marked" ]; then sort; else cat; fi
}

# With the folders of the chosen base and of all that it builds on as /chain/ID.
with_chain() { # DOCKER'S AND THE PROGRAM'S ARGUMENTS
  for part in $(chain "$base"); do set -- --volume "$bases/$part/data:/chain/$part:ro" "$@"; done
  in_client "$@"
}

# Another one may well start with these files, and then read them wrongly: what is a negative byte here is none there, and
# indexes are sorted by it. Base backups that do not say theirs are older than this question.
same_architecture() {
  theirs=$(value "$(ids | tail -n 1)" ARCHITECTURE) ours=$(architecture)
  [ -z "$theirs" ] || [ "$theirs" = "$ours" ] ||
    fail "the base backups in $bases are of $theirs, and PostgreSQL here is of $ours, which cannot read their files rightly; restore dumps, which any architecture reads: sudo $apps/restore.sh"
}

# Sets base.
choose() {
  oldest=$(ids | head -n 1)
  [ -n "$oldest" ] || fail "there is no base backup in $bases; make one: sudo $apps/backup.d/base.sh, or name another folder by --from"
  same_architecture
  found=$(candidates)
  [ -n "$found" ] ||
    fail "the target is before the oldest base backup that leads to it; the oldest moment is $(at_clock $(($(value "$oldest" FINISHED) + 1)))"
  for base in $found; do
    # shellcheck disable=SC2016 # for the shell in the container
    with_chain --entrypoint sh "$POSTGRES_IMAGE" -c '
      for part in /chain/*; do
        pg_verifybackup --quiet --exit-on-error --no-parse-wal "$part" || { echo "base backup ${part##*/} is damaged" >&2; exit 1; }
      done' && return
  done
  fail "all base backups from which the target can be reached are damaged (the lines above name them); take older ones from off-site, and name their folder by --from"
}

newest_moment() { # segments on standard input, oldest first
  read -r lsn clock <<FOUND
$(last_commit)
FOUND
  if [ -n "$lsn" ]; then
    echo "the newest moment is $clock+00 ($apps/pitr.sh prepare lsn:$lsn)"
  else
    echo "the newest moment is the end of base backup $base"
  fi
}

# --- recovery ---

# What can be known before anything is restored. Sets whole: the newest segment that has to be there in the end.
check_wal() {
  segments=$("$keeper" segments "$from/wal" "$lineage" "$(value "$base" START_WAL)")
  missing=$(echo "$segments" | sed -n 's/^missing //p')
  segments=$(echo "$segments" | grep -v missing) || fail "segment $missing is missing in $from/wal, and base backup $base is of no use without it"
  whole=
  for name in $segments; do
    for file in "$from/wal/$name" "$from/wal/past/$name"; do
      if [ -f "$file" ] || [ -f "$file.gz" ]; then whole=$name; fi
    done
  done
  [ "$kind" != latest ] || [ -z "$missing" ] ||
    fail "segment $missing is missing in $from/wal, so what came after it cannot be had; before it, $(echo "$segments" | newest_moment)"
  [ "$kind" = time ] || return 0
  read -r lsn clock <<FOUND
$(echo "$segments" | last_commit)
FOUND
  older "$wanted" "$clock" ||
    fail "nothing was committed after $wanted+00 that is in $from/wal; ${missing:+segment $missing is missing there; }$(if [ -n "$missing" ]; then echo "$segments" | newest_moment; else echo "the newest moment is $clock+00 ($apps/pitr.sh prepare latest)"; fi)"
}

combine() {
  bytes=1073741824
  for part in $(chain "$base"); do bytes=$((bytes + $(value "$part" BYTES))); done
  need_space "$(dirname "$copy")" "$bytes" "the restored copy"
  mkdir -m 0700 "$new"
  chown 999:999 "$new"
  # shellcheck disable=SC2046 # one word a part
  with_chain --volume "$new:/restored" --entrypoint pg_combinebackup "$POSTGRES_IMAGE" --no-manifest --output=/restored \
    $(chain "$base" | sed 's|^|/chain/|') || fail "pg_combinebackup failed (the lines above say why); nothing was kept"
  touch "$new/recovery.signal"
  chown 999:999 "$new/recovery.signal"
  mv -T "$new" "$copy"
}

# Whole segments first, by both names, since wal.sh may be at work on them; then what has been received of the newest one. A damaged
# one is said, and is no reason to end at once: PostgreSQL reads ahead of its target. Histories of this host count too, since a new
# timeline must not have the number of one that was here.
# shellcheck disable=SC2016 # for the shell in the container
FETCH='for pass in 1 2; do
  for folder in /wal /wal/past; do
    cp "$folder/%f" "%p" 2>/dev/null && exit
    [ -f "$folder/%f.gz" ] || continue
    gzip -dc "$folder/%f.gz" >"%p" && exit
    echo "damaged segment: %f" >&2
    exit 1
  done
  for folder in /wal /wal/past; do cp "$folder/%f.partial" "%p" 2>/dev/null && truncate --size=16M "%p" && exit; done
done
case %f in *.history) cp "/own/%f" "%p" 2>/dev/null && exit ;; esac
exit 1'

start() {
  case $kind in
    latest) set -- ;;
    time) set -- -c "recovery_target_time=$wanted+00" ;;
    *) set -- -c "recovery_target_$kind=$wanted" ;;
  esac
  # Recovery's settings are only here, so none stay in the data. Without hot_standby, a setting that was lowered since stops nothing.
  run_copy -c listen_addresses= -c hot_standby=off -c restore_command="$FETCH" \
    -c recovery_target_timeline="$lineage" -c recovery_target_action=promote "$@"
}

ask_copy() { # SQL
  docker exec "$container" psql --no-psqlrc --quiet --tuples-only --no-align --username=platform_admin --dbname=postgres --command "$1"
}

# Prints why recovery ended at an LSN when it had not read all that is there.
damage() { # LSN
  at=$(printf '%08X%08X' $((0x${1%/*})) $((0x${1#*/} / 16777216)))
  damaged=$(printf '%s\n' "$log" | sed -n 's/^damaged segment: //p' | tail -n 1)
  if [ -z "$damaged" ] && older "$at" "${whole#????????}"; then damaged=$(echo "$segments" | grep "$at\$"); fi
  [ -z "$damaged" ] || echo "segment $damaged in $from/wal is corrupted, so what came after it cannot be had; before it, $(
    echo "$segments" | awk -v end="${damaged#????????}" 'substr($0, 9) "" < end ""' | newest_moment
  )"
}

# Until it takes connections; it does not before the target is reached.
wait_for_target() {
  until [ "$(ask_copy 'SELECT NOT pg_is_in_recovery()' 2>/dev/null)" = t ]; do
    if [ "$(docker container inspect --format '{{.State.Running}}' "$container")" != true ]; then
      log=$(docker logs "$container" 2>&1)
      reached=$(printf '%s\n' "$log" | sed -n 's/.*redo done at \([0-9A-F/]*\) .*/\1/p' | tail -n 1)
      why=$(damage "${reached:-FFFFFFFF/FFFFFFFF}")
      [ -z "$why" ] || fail "$why"
      case $log in
        *'recovery ended before configured recovery target was reached'*)
          fail "$target is not in the WAL of $from/wal${missing:+, where segment $missing is missing}; $(echo "$segments" | newest_moment)"
          ;;
        *) fail "PostgreSQL did not recover: $(printf '%s\n' "$log" | grep -E 'FATAL|PANIC' | tail -n 1)" ;;
      esac
    fi
    sleep 0.5
  done
  [ "$kind" != latest ] && return
  # Without a target PostgreSQL takes the first record that cannot be read for the end.
  log=$(docker logs "$container" 2>&1)
  why=$(damage "$(sed -n '$s/^[0-9]*\t\([0-9A-F/]*\)\t.*/\1/p' "$(find "$copy/pg_wal" -name '*.history' | sort | tail -n 1)")")
  [ -z "$why" ] || fail "$why"
}
