#!/bin/sh
# Builds and serves images in which provide.sh has no part, since few tests want them (majors.sh, monitoring.sh): each once, from a
# suite of Debian of its own.
#
#   more.sh SET CATALOGUE "NAME…" "FILE…"   CATALOGUE is written; the files are what the images are made from, beside their own folders
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${CDP_CACHE_DIR:-$HOME/.cache/central-data-platform}
port=${CDP_REGISTRY_PORT:-5443}
set_of=$1 catalogue=$2 names=$3 files=$4

"$here/../docker/ensure-packages.sh" mmdebstrap debian-archive-keyring docker-registry python3
mkdir -p "$cache"
exec 7>"$cache/images-$set_of.lock"
flock 7
hash=$(
  {
    # shellcheck disable=SC2086 # lists of names
    (cd "$here" && find build.sh oci.py strip.sh $files $names -type f -exec sha256sum '{}' + | LC_ALL=C sort)
    dpkg --print-architecture
  } | sha256sum | cut -c 1-16
)
# provide.sh removes what was not used for days.
images=$cache/images-$hash
rm -rf --one-file-system "$images"/*.*
# shellcheck disable=SC2016 # apt's own placeholders
mirror=${CDP_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
  awk -F '|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }')}
for name in $names; do
  # A mirror's copy of a suite that is still being made may be older than the suite's own promise.
  suite=$("$here/oci.py" field "$here/$name/image.json" suite)
  [ -d "$images/$name" ] ||
    CDP_DEBIAN_MIRROR="deb [check-valid-until=no] $mirror $suite main" "$here/build.sh" "$name" "$images/$name"
done
touch "$images"
"$here/registry.sh" start --port "$port" --storage "$cache/registry"
# shellcheck disable=SC2086 # a list of names
"$here/oci.py" push "$images" "$catalogue" $names --registry "127.0.0.1:$port"
