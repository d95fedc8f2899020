# shellcheck shell=sh
# shellcheck disable=SC2154 # $srv and $backups are common.sh's, $exchanging and $stopped the script's
# What the scripts of major upgrades share: data of one version and of another change places, wholly or not at all.
#
# A set of folders has a name, such as postgres-17: data/NAME, and for PostgreSQL backups/NAME/base and /wal, since base backups and
# WAL belong to their cluster. While sets change places, data/.SERVICE-exchange names both: whoever finds it takes all back.

# The trap of a script that is guarded: what it has begun is taken back by its own clean_up, however it ends.
finish() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  clean_up
  unguard
  exit "$status"
}

# Ends in what was before, however this run ends: by its own trap, and where that cannot be by a process that waits for its lock.
protect() {
  trap finish EXIT
  trap 'exit 130' HUP INT TERM
  # Without the locks on base backups and WAL, where this run has them.
  # shellcheck disable=SC2119 # without arguments
  guard 4>&- 5>&- 6>&-
}

# What a run before this one has begun is taken back.
settle() { # TITLE
  [ -e "$exchanging" ] || [ -e "$stopped" ] || return 0
  clean_up
  say "an upgrade was cut off: the data of $1 are those from before it"
}

# Removes the sets that are not in use.
drop() { # SERVICE
  found=
  for folder in "$srv/data/$1"-[1-9]* "$backups/$1"-[1-9]*; do
    version=${folder##*/"$1"-}
    # Nobody else's, such as postgres-17.copy.
    case ${version%-left} in *[!0-9.]*) continue ;; esac
    [ -d "$folder" ] || continue
    rm -rf "$folder"
    found="$found $folder"
  done
  [ -n "$found" ] || fail "there are no data of another version"
  say "removed:$found"
}

# The places of a service's set: where it is in use, and where it is by its name.
places() { # SERVICE NAME
  printf '%s\t%s\n' "$srv/data/$1" "$srv/data/$2"
  if [ "$1" = postgres ]; then
    printf '%s\t%s\n' "$backups/base" "$backups/$2/base" "$backups/wal" "$backups/$2/wal"
  fi
}

# The set in use gets the name KEEP, and the set TAKE is in use from then on; `settled` says that it stays so.
exchange() { # SERVICE KEEP TAKE
  [ "$1" != postgres ] || mkdir "$backups/$2"
  printf '%s %s\n' "$2" "$3" >"$srv/data/.$1-exchange.new"
  sync "$srv/data/.$1-exchange.new"
  mv "$srv/data/.$1-exchange.new" "$srv/data/.$1-exchange"
  sync "$srv/data"
  places "$1" "$2" | while IFS=$tab read -r used kept; do mv -T "$used" "$kept"; done
  places "$1" "$3" | while IFS=$tab read -r used taken; do mv -T "$taken" "$used"; done
  sync "$srv/data" "$backups"
}

settled() { # SERVICE
  read -r keep take <"$srv/data/.$1-exchange"
  rmdir "$backups/$take" 2>/dev/null || :
  rm "$srv/data/.$1-exchange"
  sync "$srv/data" "$backups"
}

# As it was before `exchange`, however far that has come.
take_back() { # SERVICE
  read -r keep take <"$srv/data/.$1-exchange"
  places "$1" "$keep" | while IFS=$tab read -r used kept; do
    [ -e "$kept" ] || continue
    case $kept in "$srv"/data/*) taken=$srv/data/$take ;; *) taken=$backups/$take/${kept##*/} ;; esac
    [ ! -e "$used" ] || mv -T "$used" "$taken"
    mv -T "$kept" "$used"
  done
  rmdir "$backups/$keep" 2>/dev/null || :
  sync "$srv/data" "$backups"
  rm "$srv/data/.$1-exchange"
  sync "$srv/data"
}

# Bytes that a copy of a folder needs: little where the file system copies by reference.
copy_bytes() { # FOLDER
  if reflinks "$1"; then echo 1073741824; else echo $(($(du -sb "$1" | cut -f 1) + 1073741824)); fi
}

reflinks() { # FOLDER
  probe=$(mktemp "$srv/data/.reflink.XXXXXX")
  code=0
  cp --reflink=always "$(find "$1" -type f -size +0 | head -n 1)" "$probe" 2>/dev/null || code=1
  rm -f "$probe"
  return "$code"
}

# What an image's program says of itself: 18.6
version_in() { # IMAGE PROGRAM
  docker run --rm --network none --entrypoint "$2" "$1" --version | sed -n 's/^[^0-9]*\([0-9][0-9.]*\).*/\1/p' | head -n 1
}
