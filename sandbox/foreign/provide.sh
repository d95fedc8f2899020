#!/bin/sh
# Provides PostgreSQL of the other architecture (arm64 on amd64, amd64 on arm64) as an image of a Docker engine.
#
#   provide.sh [--socket PATH]     prints the image's name and its architecture
#
# Debian's packages are unpacked without their scripts: an installation under emulation takes five minutes. Of PostgreSQL's own
# programs only initdb runs, since it is what takes longest, so `emulate.sh start` comes first. What was made once is kept in
# $CDP_CACHE_DIR, else ~/.cache/central-data-platform.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${CDP_CACHE_DIR:-$HOME/.cache/central-data-platform}
IMAGE=postgres-foreign:latest
PACKAGES="postgresql-17 bash coreutils dash tzdata"

die() {
  echo "provide.sh: $1" >&2
  exit 1
}

case $#,${1:-} in
  0, | 2,--socket) socket=${2:-/var/run/docker.sock} ;;
  *) die "usage: provide.sh [--socket PATH]" ;;
esac
command -v dpkg >/dev/null || die "the image is made of Debian packages, and this machine has no dpkg: use Debian or Ubuntu"
# shellcheck source=sandbox/foreign/architecture.sh
. "$here/architecture.sh"
"$here/../docker/ensure-packages.sh" mmdebstrap debian-archive-keyring

unpack() {
  mirror=$("$here/../machine/debian-mirror.sh")
  work=$(mktemp -d "$root.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  # What PostgreSQL needs only to compile its queries is a third of all.
  # shellcheck disable=SC2016 # for mmdebstrap, which names the folder
  TMPDIR=$work mmdebstrap --quiet --mode=root --variant=extract --architectures="$foreign" --format=tar \
    --include="$(echo "$PACKAGES" | tr ' ' ,)" \
    --extract-hook="'$here/../images/add-user.sh' \"\$1\" root 0 /root /bin/sh" \
    --extract-hook="'$here/../images/add-user.sh' \"\$1\" postgres 999 /var/lib/postgresql /bin/bash" \
    --extract-hook='cd "$1/usr" && rm -rf lib/*/libLLVM* lib/*/libz3* lib/postgresql/17/lib/llvmjit* lib/*/perl* share/perl* share/i18n share/doc share/man' \
    --extract-hook='install -d -o 999 -g 999 "$1/var/lib/postgresql" "$1/var/run/postgresql"' \
    --extract-hook="unshare --mount '$here/initdb.sh' \"\$1\"" \
    trixie "$work/root.tar" "$mirror" >"$work/log" 2>&1 || {
    tail -n 20 "$work/log" >&2
    die "PostgreSQL for $foreign could not be made; above are the last lines of mmdebstrap"
  }
  rm "$work/log"
  pack "$work"
  mv -T "$work" "$root"
  trap - EXIT
}

# As `docker save` writes it (Docker Image Specification 1.2): the engine's own import does not note the architecture.
pack() { # FOLDER
  cat >"$1/config.json" <<CONFIG
{"architecture": "$foreign", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum "$1/root.tar" | cut -d ' ' -f 1)"]},
 "config": {"Env": ["PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"], "User": "postgres"}}
CONFIG
  echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$IMAGE\"], \"Layers\": [\"root.tar\"]}]" >"$1/manifest.json"
}

mkdir -p "$cache"
exec 7>"$cache/foreign.lock"
flock 7
root=$cache/foreign-$(cat "$here"/*.sh "$here/../images/add-user.sh" | sha256sum | cut -c 1-16)
rm -rf --one-file-system "$root".*
find "$cache" -maxdepth 1 -name 'foreign-*' ! -path "$root" -exec rm -rf '{}' +
[ -d "$root" ] || unpack
tar -C "$root" -c . | docker --host "unix://$socket" load --quiet >/dev/null ||
  die "the Docker engine on $socket does not take the image"
echo "$IMAGE $foreign"
