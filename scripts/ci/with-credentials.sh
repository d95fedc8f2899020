#!/bin/sh
# with-credentials.sh COMMAND [ARGUMENT...]: run a command with the secrets of a CI job where its programs look for them.
#
# They are read from the environment and taken out of it, those that are not empty:
#   PULUMI_CONFIG_PASSPHRASE  goes to a file, named by PULUMI_CONFIG_PASSPHRASE_FILE
#   OCI_CONFIG, OCI_API_KEY   the text that OCI's console shows for an API key, and the key itself (PEM): go to ~/.oci
#   HOST_SSH_KEY              a private key: goes to an agent of its own
# All of it is gone when the command has ended, and its exit code is ours.
set -eu
umask 077
mark='# Of a CI job (scripts/ci/with-credentials.sh), removed at its end.'
oci=$HOME/.oci

fail() {
  echo "error: $1" >&2
  exit 2
}

[ $# -gt 0 ] || fail "usage: with-credentials.sh COMMAND [ARGUMENT...]"
folder=$(mktemp -d)
made_oci=
cleanup() {
  [ -z "$made_oci" ] || rm -f "$oci/config" "$oci/ci-api-key.pem"
  [ -z "${SSH_AGENT_PID:-}" ] || kill "$SSH_AGENT_PID" 2>/dev/null || true
  rm -rf "$folder"
}
# An agent that is not ours is not ours to end.
unset SSH_AGENT_PID
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

if [ -n "${PULUMI_CONFIG_PASSPHRASE:-}" ]; then
  printf '%s\n' "$PULUMI_CONFIG_PASSPHRASE" >"$folder/passphrase"
  export PULUMI_CONFIG_PASSPHRASE_FILE="$folder/passphrase"
fi
if [ -n "${OCI_CONFIG:-}${OCI_API_KEY:-}" ]; then
  [ -n "${OCI_CONFIG:-}" ] && [ -n "${OCI_API_KEY:-}" ] ||
    fail "OCI_CONFIG and OCI_API_KEY belong together and one is empty; set both as secrets of the job's environment (docs/pull-requests.md)"
  # What a killed job has left may go; what somebody else keeps there may not.
  if [ -e "$oci/config" ] && [ "$(head -n 1 "$oci/config")" != "$mark" ]; then
    fail "$oci/config is there already and is not a CI job's; give these jobs a runner with a user of its own"
  fi
  mkdir -p "$oci"
  made_oci=yes
  printf '%s\n' "$OCI_API_KEY" >"$oci/ci-api-key.pem"
  {
    echo "$mark"
    printf '%s\n' "$OCI_CONFIG" | tr -d '\r' | sed '/^[[:space:]]*key_file[[:space:]]*=/d'
    echo "key_file=$oci/ci-api-key.pem"
  } >"$oci/config"
fi
if [ -n "${HOST_SSH_KEY:-}" ]; then
  eval "$(ssh-agent -s)" >/dev/null
  printf '%s\n' "$HOST_SSH_KEY" | tr -d '\r' | ssh-add -q - ||
    fail "HOST_SSH_KEY is no private key that ssh-add takes without a passphrase; set the whole text of the key's file as the secret"
fi
unset PULUMI_CONFIG_PASSPHRASE OCI_CONFIG OCI_API_KEY HOST_SSH_KEY
# Stores other than Amazon's know no newer checksums: the first would be refused, and each answer would be a warning.
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required AWS_RESPONSE_CHECKSUM_VALIDATION=when_required

# A job that is cancelled tells us alone. Handed on to all of the command, and waited for: pulumi finishes what it has begun and
# gives its lock back. What is started in the background would ignore SIGINT.
setsid env --default-signal "$@" &
child=$!
trap 'kill -s INT -- "-$child" 2>/dev/null || true' HUP INT TERM
code=0
wait "$child" || code=$?
while kill -0 "$child" 2>/dev/null; do
  code=0
  wait "$child" || code=$?
done
[ "$code" = 0 ] || exit "$code"
