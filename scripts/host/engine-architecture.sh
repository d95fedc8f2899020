#!/bin/sh
# Print the Docker engine's architecture as Go names it (amd64, arm64), without a newline.
set -eu

if ! architecture=$(docker version --format '{{.Server.Arch}}' 2>&1); then
  echo "the Docker engine at ${DOCKER_HOST:-its default address} does not answer: $architecture; start it, or correct central-data-platform:host.socket" >&2
  exit 1
fi
printf '%s' "$architecture"
