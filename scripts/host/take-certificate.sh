#!/bin/sh
# take-certificate.sh CONTAINER UID CERTIFICATE ADDRESS:PORT: have a running server of PostgreSQL's protocol read its certificate
# again, and fail where it goes on with another one. No connection is dropped.
set -eu
container=$1 uid=$2 certificate=$3 server=$4
PATIENCE_SECONDS=20

fail() {
  echo "$1" >&2
  exit 1
}

fingerprint() { openssl x509 -noout -fingerprint -sha256 "$@" 2>/dev/null; }

wanted=$(fingerprint -in "$certificate") ||
  fail "$certificate is missing or no certificate; have it made again by: pulumi up --replace '**-tls-certificates'"
# Not `docker kill`: with any signal it marks the container as stopped by hand, and `unless-stopped` no longer restarts it.
docker exec --user "$uid" "$container" sh -c 'kill -HUP 1'
deadline=$(($(date +%s) + PATIENCE_SECONDS))
until served=$(timeout 5 openssl s_client -starttls postgres -connect "$server" </dev/null 2>/dev/null | fingerprint) &&
  [ "$served" = "$wanted" ]; do
  [ "$(date +%s)" -lt "$deadline" ] ||
    fail "$container does not serve the certificate $certificate on $server although it was told to; 'docker logs $container' says why, then run up again"
  sleep 0.5
done
