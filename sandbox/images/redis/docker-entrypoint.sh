#!/bin/sh
# The documented behaviour of the official Redis image's entry point, with one addition: that image is compiled
# with protected mode off by default, Debian's server has it on. So where neither the arguments nor the
# configuration say anything about protected mode, the last argument switches it off.
set -e

# Options alone, or a configuration file alone, are meant for the server.
case ${1-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find . ! -user redis -exec chown redis '{}' +
  exec gosu redis "$0" "$@"
fi

# True when FILE, or a file that it includes, sets protected mode.
file_sets_protected_mode() {
  [ -r "$1" ] || return 1
  ! grep -qiE '^[[:space:]]*protected-mode[[:space:]]' "$1" || return 0
  included=$(sed -nE 's/^[[:space:]]*include[[:space:]]+"?([^"]*[^"[:space:]])"?[[:space:]]*$/\1/p' "$1")
  for pattern in $included; do
    for file in $pattern; do
      ! file_sets_protected_mode "$file" || return 0
    done
  done
  return 1
}

arguments_set_protected_mode() {
  for argument; do
    case $argument in
      --protected-mode | --protected-mode[=\ ]*) return 0 ;;
    esac
  done
  return 1
}

if [ "${1-}" = redis-server ] && [ "${2-}" != --version ] && [ "${2-}" != -v ] &&
  [ "${2-}" != --help ] && [ "${2-}" != -h ] && [ "${2-}" != --test-memory ] && [ "${2-}" != --check-system ] &&
  ! arguments_set_protected_mode "$@" && ! file_sets_protected_mode "${2-}"; then
  set -- "$@" --protected-mode no
fi

# Data is nobody else's business, unless the one who started the container chose a mask.
[ "$(umask)" != 0022 ] || umask 0077

exec "$@"
