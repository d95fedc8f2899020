#!/bin/sh
# check-images.sh ARCHITECTURE REFERENCE...: have each image on this host, and refuse one whose own configuration is for
# another architecture than the digest's place in the catalogue says: before a container is made of any of them.
set -eu
architecture=$1
shift

for reference in "$@"; do
  if ! docker image inspect "$reference" >/dev/null 2>&1; then
    said=$(docker pull --quiet "$reference" 2>&1) || {
      echo "$reference cannot be pulled: $(printf '%s' "$said" | tail -n 1); correct the catalogue of images, or try again" >&2
      exit 1
    }
  fi
  found=$(docker image inspect --format '{{.Os}}/{{.Architecture}}' "$reference")
  [ "$found" = "linux/$architecture" ] || {
    echo "$reference is in the catalogue for linux/$architecture and is an image for $found; run make pin-images" >&2
    exit 1
  }
done
