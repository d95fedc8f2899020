# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # $tab is for who reads this; $bases and $client are set by them
# What the backup scripts share. Read by each of them at its start, from the folder where it is installed.
#
# It names the folders ($srv, $backups), reads the settings that the program has written, and defines what they all do.
set -eu
umask 077
apps=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
apps=${apps%/backup.d}
srv=$(dirname "$apps")
backups=$srv/backups
locks=$srv/run/locks
tab=$(printf '\t')
me=$(basename "$0" .sh)

fail() {
  echo "$1" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "only root can do this; run: sudo $0"
settings=$srv/config/backup/backup.env
[ -r "$settings" ] || fail "$settings is missing; run pulumi up"
# shellcheck source=/dev/null
. "$settings"

# One line for the journal, and for whoever looks on.
say() {
  echo "$1"
  if command -v logger >/dev/null; then logger --tag "central-data-platform-$me" -- "$1" 2>/dev/null || :; fi
}

# What came of the last run: state/NAME, and state/NAME.good for the last good one. Both are there as a whole or not at all.
record() { # NAME ok|fail DETAIL
  mkdir -p "$backups/state"
  printf '%s\t%s\t%s\n' "$2" "$(date +%s)" "$(printf '%s' "$3" | tr '\n\t' '  ')" >"$backups/state/$1.new"
  if [ "$2" = ok ]; then
    cp "$backups/state/$1.new" "$backups/state/$1.good.new"
    mv -f "$backups/state/$1.good.new" "$backups/state/$1.good"
  fi
  mv -f "$backups/state/$1.new" "$backups/state/$1"
}

json_text() {
  printf '%s' "$1" | LC_ALL=C tr -d '\000-\037\177' | sed 's/\\/\\\\/g; s/"/\\"/g'
}

# Until this process ends, nobody else has the lock; what it starts must not keep it (9>&-).
lock() { # NAME
  mkdir -p "$locks"
  exec 9>"$locks/$1"
  flock --nonblock 9 || fail "another $1 is running (lock $locks/$1); wait until it has ended"
}

# Dumps are made, or something is restored: never both. What runs long, and must not keep the lock, is started with 7>&-.
only_one() {
  mkdir -p "$locks"
  exec 7>"$locks/dumps"
  flock --nonblock 7 || fail "a backup or a restore is running (lock $locks/dumps); wait until it has ended"
}

# This superuser is in databases where somebody else says what a name means: options of the connection come before that.
psql_in() { # DATABASE [PSQL ARGUMENT...]; SQL is standard input
  database=$1
  shift
  docker exec --interactive \
    --env PGOPTIONS='-c search_path=pg_catalog,pg_temp -c role=none -c default_transaction_read_only=off -c statement_timeout=0 -c client_min_messages=warning' \
    postgres-db psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin \
    --dbname="dbname='$(printf '%s' "$database" | sed "s/[\\\\']/\\\\&/g")'" "$@" --file=-
}

# A name as a file's: all but letters, digits, _ and - as %XX.
encoded() { # NAME
  printf '%s' "$1" | LC_ALL=C od -An -v -tu1 | LC_ALL=C awk '{ for (i = 1; i <= NF; i++)
    if ($i >= 48 && $i <= 57 || $i >= 65 && $i <= 90 || $i >= 97 && $i <= 122 || $i == 45 || $i == 95) printf "%c", $i
    else printf "%%%02X", $i }'
}

decoded() { # FILE NAME
  printf '%s' "$1" | LC_ALL=C awk '{
    while (match($0, /%[0-9A-F][0-9A-F]/)) {
      hex = substr($0, RSTART + 1, 2)
      printf "%s%c", substr($0, 1, RSTART - 1), (index("0123456789ABCDEF", substr(hex, 1, 1)) - 1) * 16 + index("0123456789ABCDEF", substr(hex, 2, 1)) - 1
      $0 = substr($0, RSTART + 3)
    }
    printf "%s", $0
  }'
}

# Bytes that may still be written where PATH is.
free_bytes() { # PATH
  df --output=avail --block-size=1 "$1" | tail -n 1 | tr -d ' '
}

# Says what is missing in bytes that a person reads.
need_space() { # PATH BYTES WHAT
  free=$(free_bytes "$1")
  [ "$free" -ge "$2" ] ||
    fail "$3 needs about $(numfmt --to=iec "$2"), and only $(numfmt --to=iec "$free") are free at $1; make room or shorten how long backups are kept"
}

seconds_since() { # UNIX SECONDS
  echo $(($(date +%s) - $1))
}

# --- base backups, in $bases, and PostgreSQL's programs that work on them, in a container named $client ---

# In the background: a signal is acted on at once. A drill's are marked, and have a small share of the processors.
in_client() { # DOCKER'S AND THE PROGRAM'S ARGUMENTS
  docker run --rm --name "$client" ${mark:+--label "$mark" --cpu-shares 256} --network none --user 999:999 --cap-drop ALL \
    --security-opt no-new-privileges:true --security-opt label=disable "$@" 9>&- &
  wait $!
}

# What PostgreSQL runs as here, as Docker names it: amd64 or arm64.
architecture() {
  docker image inspect --format '{{.Architecture}}' "$POSTGRES_IMAGE" 2>/dev/null || docker version --format '{{.Server.Arch}}'
}

# Oldest first.
ids() {
  for info in "$bases"/*/info; do
    [ -f "$info" ] || continue
    info=${info%/info}
    echo "${info##*/}"
  done
}

value() { # ID KEY
  sed -n "s/^$2=//p" "$bases/$1/info"
}

# The base and all that it builds on, the full one first; fails where one is missing.
chain() { # ID
  [ -f "$bases/$1/info" ] || return 1
  of=$(value "$1" PARENT)
  if [ -n "$of" ]; then chain "$of" || return 1; fi
  echo "$1"
}

older() { # TEXT TEXT
  LC_ALL=C expr "x$1" \< "x$2" >/dev/null
}
