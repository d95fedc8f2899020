#!/bin/sh
# password.sh apply|check ROLE: a role's password, and the files that hold it, in one step.
#
# Standard input is a list, one thing a line, its text in base64:
#
#   verifier TEXT                       the role's SCRAM verifier
#   file MODE UID:GID TEXT PATH         a whole file
#   block MODE UID:GID TEXT PATH        the platform's block of a file whose other lines are kept
#   reload-pgbouncer                    PgBouncer reads its files again before the new password holds
#   release                             the role may come from everywhere again: its password is no longer a weak one
#   end                                 the last line: without it the sender was cut off, and nothing is done
#
# A role has one password at a time. Between the role's change and the files' nobody can log in (logins wait some milliseconds),
# so whoever is refused and reads the file again finds the password that holds.
set -eu
action=$1 role=$2
BEGIN='# BEGIN central-data-platform: made by Pulumi; lines outside this block are yours'
END='# END central-data-platform'

fail() {
  echo "$1" >&2
  exit 1
}

work=$(mktemp -d)
umask 077
# With what has not got its name yet.
drop() {
  while read -r kind _ _ _ path; do
    case $kind in file | block) rm -f "$path.new" ;; esac
  done <"$work/list"
  rm -rf "$work"
}
trap drop EXIT
trap 'exit 130' HUP INT TERM
cat >"$work/list"
[ "$(tail -n 1 "$work/list")" = end ] ||
  fail "the password of role $role could not be looked at or changed: its list was cut off on the way; run up again"
release=$(grep -cx release "$work/list") || :
verifier=$(awk '$1 == "verifier" { print $2 }' "$work/list" | base64 -d)

psql_in() {
  docker exec --interactive postgres-db \
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --username=platform_admin --dbname=postgres \
    --set=role="$role" --file=-
}

# --- the files ---

# The file at PATH without the block.
without_block() {
  [ ! -f "$1" ] || sed '/^# BEGIN central-data-platform/,/^# END central-data-platform/d' "$1"
}

# The block alone, without its markers.
block_of() {
  sed -n '/^# BEGIN central-data-platform/,/^# END central-data-platform/{//!p}' "$1"
}

is_whole() {
  [ ! -f "$1" ] || awk '/^# BEGIN central-data-platform/ { wrong += inside++ } /^# END central-data-platform/ { wrong += !inside; inside = 0 }
    END { exit wrong || inside }' "$1"
}

# Everything but the last step of writing a file: it is whole, on the disk, and has its owner and mode.
prepare() { # KIND MODE OWNER TEXT PATH
  path=$5
  folder=$(dirname "$path")
  [ -d "$(dirname "$folder")" ] ||
    fail "cannot write $path: folder $(dirname "$folder") is missing; is the data volume mounted? Bring the platform's folders back, then run up again"
  [ -d "$folder" ] || mkdir -m 0755 "$folder"
  is_whole "$path" ||
    fail "$path has a line '# BEGIN central-data-platform' without its '# END central-data-platform', so nobody knows which lines are yours; add the missing line, then run up again"
  # Made anew, so that it is root's alone, whatever somebody has put in its place.
  rm -f "$path.new"
  set -C
  {
    [ "$1" = file ] || printf '%s\n' "$BEGIN"
    printf '%s' "$4" | base64 -d
    [ "$1" = file ] || {
      printf '%s\n' "$END"
      without_block "$path"
    }
  } >"$path.new"
  set +C
  chown "$3" "$path.new"
  chmod "$2" "$path.new"
  if command -v restorecon >/dev/null; then restorecon "$path.new"; fi
  sync "$path.new"
}

# --- the switch ---

# Waits for the line that says that psql has come so far; nothing more comes from a psql that has failed.
reached() {
  while read -r line <&4; do
    [ "$line" != "$1" ] || return 0
  done
  return 1
}

reload_pgbouncer() {
  # On the first run it is not there yet. Not `docker kill`, which would end its restarts (pgbouncer-running.sh).
  [ "$(docker container inspect --format '{{.State.Running}}' pgbouncer 2>/dev/null)" != true ] ||
    docker exec pgbouncer sh -c 'kill -HUP 1'
}

place() {
  number=0
  while read -r kind _ _ _ path; do
    number=$((number + 1))
    case $kind in
      file | block)
        [ ! -f "$path" ] || cp -p "$path" "$work/old.$number"
        mv -f "$path.new" "$path"
        ;;
      reload-pgbouncer) reload_pgbouncer || : ;;
    esac
  done <"$work/list"
}

put_back() {
  number=0
  while read -r kind _ _ _ path; do
    number=$((number + 1))
    case $kind in
      file | block)
        if [ -f "$work/old.$number" ]; then
          cp -p "$work/old.$number" "$path.new"
          mv -f "$path.new" "$path"
        else
          rm -f "$path"
        fi
        ;;
      reload-pgbouncer) reload_pgbouncer || : ;;
    esac
  done <"$work/list"
}

apply() {
  while read -r kind mode owner text path; do
    case $kind in file | block) prepare "$kind" "$mode" "$owner" "$text" "$path" ;; esac
  done <"$work/list"

  mkfifo "$work/in" "$work/out"
  # A signal to all of us ends it by the end of its input: not between the change and the commit.
  { trap '' HUP INT TERM && psql_in; } <"$work/in" >"$work/out" 2>"$work/complaint" &
  psql=$!
  exec 3>"$work/in" 4<"$work/out"
  # NOWAIT: whoever waits for this lock makes all logins wait behind it. A long query on pg_roles (pg_dump) can keep it from us;
  # then it goes without, and a client may be refused twice within some milliseconds.
  cat >&3 <<SQL
\\set verifier '$verifier'
SET log_min_duration_statement = -1;
-- Whoever holds this lock holds up all logins: not for long, whatever happens to us.
SET idle_in_transaction_session_timeout = '20s';
BEGIN;
DO \$\$ BEGIN
  FOR attempt IN 1..40 LOOP
    BEGIN
      LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE NOWAIT;
      EXIT;
    EXCEPTION WHEN lock_not_available THEN PERFORM pg_sleep(0.05);
    END;
  END LOOP;
END \$\$;
ALTER ROLE :"role" PASSWORD :'verifier';
SELECT format('REVOKE platform_hemmed FROM %I', :'role') WHERE $release > 0
  AND EXISTS (SELECT FROM pg_auth_members WHERE pg_get_userbyid(roleid) = 'platform_hemmed' AND pg_get_userbyid(member) = :'role') \\gexec
\\echo changed
SQL
  committed=
  if reached changed; then
    # From here to the commit nothing stops half-way; and where it fails, the files are put back.
    trap '' HUP INT TERM PIPE
    place
    { printf 'COMMIT;\n\\echo committed\n' >&3; } 2>/dev/null || :
    if reached committed; then committed=yes; else put_back; fi
  fi
  exec 3>&- 4<&-
  wait "$psql" || :
  [ "$committed" = yes ] ||
    fail "the password of role $role could not be changed: $(tr '\n' ' ' <"$work/complaint"); run up again"
}

# --- check ---

wanted_role() {
  psql_in <<SQL
\\set verifier '$verifier'
SET log_min_duration_statement = -1;
SELECT format('role %I has another password than the configured one', rolname) FROM pg_authid
  WHERE rolname = :'role' AND rolpassword IS DISTINCT FROM :'verifier'
UNION ALL SELECT format('role %I is hemmed in, and its password is no longer a weak one', :'role') FROM pg_auth_members
  WHERE $release > 0 AND pg_get_userbyid(roleid) = 'platform_hemmed' AND pg_get_userbyid(member) = :'role'
UNION ALL SELECT format('role %I is missing', :'role') WHERE NOT EXISTS (SELECT FROM pg_authid WHERE rolname = :'role');
SQL
}

check() {
  wanted_role 2>/dev/null || echo "postgres-db does not answer"
  while read -r kind mode owner text path; do
    case $kind in file | block) printf '%s' "$text" | base64 -d >"$work/wanted" ;; *) continue ;; esac
    if [ ! -f "$path" ]; then
      echo "$path is missing"
      continue
    fi
    [ "0$(stat -c %a:%u:%g "$path")" = "$mode:$owner" ] || echo "$path has not mode $mode and owner $owner"
    case $kind in
      file) cat "$path" >"$work/found" ;;
      block) block_of "$path" >"$work/found" ;;
    esac
    cmp -s "$work/wanted" "$work/found" || echo "$path was edited"
  done <"$work/list"
}

case $action in
  apply) apply ;;
  check) check ;;
  *) fail "usage: password.sh apply|check ROLE" ;;
esac
