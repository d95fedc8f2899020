#!/bin/sh
# tls.sh SRV_ROOT DAYS RENEW_BEFORE_DAYS [NAME...]: the platform's own authority, and from it a certificate for each server.
#
# The authority is made once and its key stays in SRV_ROOT/config/tls. A server's key and certificate are made again when
# they are missing or do not fit together, when the certificate is not this authority's or has not these names, and when it
# is valid longer than DAYS or ends within RENEW_BEFORE_DAYS. NAMEs are further names and addresses of every server.
# Prints the authority's certificate and a comment about each server's: the same text for as long as none of them changes.
# An authority that was lost or comes to its end: docs/decisions/0010-own-authority.md.
set -eu
umask 077
export LC_ALL=C TZ=UTC
srv=$1 days=$2 renew_before_days=$3
shift 3
authority=$srv/config/tls
AUTHORITY_DAYS=3650
DAY_SECONDS=86400
PAGE=docs/decisions/0010-own-authority.md

fail() {
  echo "$1" >&2
  exit 1
}

command -v openssl >/dev/null ||
  fail "openssl is missing on this host, and the servers' certificates are made with it; install the package openssl, then run up again"

# openssl talks on standard error when all is well, too: its words are shown only where it fails.
quietly() {
  said=$("$@" 2>&1 </dev/null) || fail "'$1 $2' failed while making certificates in $srv/config: $(printf '%s' "$said" | tr '\n' ' ')"
}

public_key_of_certificate() { openssl x509 -in "$1" -noout -pubkey 2>/dev/null; }
public_key_of_key() { openssl pkey -in "$1" -pubout 2>/dev/null; }

new_key() { quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# On the disk before it has its name.
place() { # MODE FROM TO
  chmod "$1" "$2"
  sync "$2"
  mv -f "$2" "$3"
}

# --- the authority ---

authority_settings() {
  cat <<CONF
[req]
distinguished_name = subject
x509_extensions = extensions
[subject]
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
CONF
}

authority_was_there() {
  for trace in "$authority/ca.crt" "$srv"/config/*/tls/server.crt; do
    [ ! -e "$trace" ] || return 0
  done
  return 1
}

make_authority() {
  if [ ! -f "$authority/ca.key" ]; then
    ! authority_was_there ||
      fail "$authority/ca.key is missing, and clients hold the certificate that belongs to it; put it back from a backup, or make a new authority as $PAGE says"
    mkdir -p "$authority"
    chmod 0755 "$authority"
    new_key "$authority/ca.key.new"
    place 0600 "$authority/ca.key.new" "$authority/ca.key"
  fi
  if [ ! -f "$authority/ca.crt" ]; then
    authority_settings >"$work/authority.conf"
    # The stack's name stands in the tree's marker. Made again from the same key it is as good to those who hold the old one.
    quietly openssl req -x509 -new -config "$work/authority.conf" -key "$authority/ca.key" -sha256 -days "$AUTHORITY_DAYS" \
      -set_serial "0x$(openssl rand -hex 16)" -subj "/CN=central-data-platform $(head -n 1 "$srv/.central-data-platform")" \
      -out "$authority/ca.crt.new"
    place 0644 "$authority/ca.crt.new" "$authority/ca.crt"
  fi
  [ "$(public_key_of_key "$authority/ca.key")" = "$(public_key_of_certificate "$authority/ca.crt")" ] ||
    fail "$authority/ca.key and ca.crt do not belong together; put both back from one backup, or make a new authority as $PAGE says"
}

# --- a server's certificate ---

# In the form in which openssl prints them, so that they can be compared.
alternative_names() { # SERVICE [NAME...]
  list=DNS:$1,DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1
  shift
  for name; do
    case $name in
      *[!0-9.]*) name=DNS:$name ;;
      *) name=IP:$name ;;
    esac
    case ,$list, in
      *",$name,"*) ;;
      *) list=$list,$name ;;
    esac
  done
  echo "$list"
}

alternative_names_of() {
  openssl x509 -in "$1" -noout -ext subjectAltName | sed -n '2{s/IP Address:/IP:/g;s/ //g;p}'
}

lifetime_of() {
  start=$(openssl x509 -in "$1" -noout -startdate)
  end=$(openssl x509 -in "$1" -noout -enddate)
  echo $(($(date -d "${end#*=}" +%s) - $(date -d "${start#*=}" +%s)))
}

is_good() { # FOLDER NAMES
  [ -f "$1/server.key" ] && cmp "$authority/ca.crt" "$1/ca.crt" &&
    openssl verify -x509_strict -purpose sslserver -no-CApath -no-CAstore -CAfile "$authority/ca.crt" "$1/server.crt" &&
    [ "$(public_key_of_key "$1/server.key")" = "$(public_key_of_certificate "$1/server.crt")" ] &&
    [ "$(alternative_names_of "$1/server.crt")" = "$2" ] &&
    [ "$(lifetime_of "$1/server.crt")" -le $((days * DAY_SECONDS)) ] &&
    openssl x509 -in "$1/server.crt" -noout -checkend $((renew_before_days * DAY_SECONDS))
}

server_settings() { # NAMES
  cat <<CONF
[req]
distinguished_name = subject
[subject]
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $1
CONF
}

keep_to() { # OWNER KEY
  chown "$1" "$2"
  chmod 0400 "$2"
}

issue() { # SERVICE FOLDER OWNER NAMES
  openssl x509 -in "$authority/ca.crt" -noout -checkend $((days * DAY_SECONDS)) >/dev/null ||
    fail "the authority in $authority ends before a certificate of $days days would; make a new one as $PAGE says, or set central-data-platform:tls.days to less"
  fresh=$(mktemp -d "$2.XXXXXX")
  new_key "$fresh/server.key"
  server_settings "$4" >"$work/server.conf"
  quietly openssl req -new -config "$work/server.conf" -key "$fresh/server.key" -subj "/CN=$1" -out "$work/server.csr"
  quietly openssl x509 -req -in "$work/server.csr" -CA "$authority/ca.crt" -CAkey "$authority/ca.key" -sha256 -days "$days" \
    -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/server.conf" -extensions extensions -out "$fresh/server.crt"
  # PgBouncer wants to know an authority, although it asks no client for a certificate.
  cp "$authority/ca.crt" "$fresh/ca.crt"
  keep_to "$3" "$fresh/server.key"
  chmod 0644 "$fresh/server.crt" "$fresh/ca.crt"
  chmod 0755 "$fresh"
  sync "$fresh"/*
  # Key and certificate change in one step: whatever reads them, and whenever, finds two that fit.
  ln -sfn "$(basename "$fresh")" "$2.link"
  [ -L "$2" ] || rm -rf "$2"
  mv -fT "$2.link" "$2"
}

# What was replaced, and what a run that was cut off has left.
drop_others() { # FOLDER
  current=$(readlink "$1" || true)
  for other in "$1".*; do
    [ "$(basename "$other")" = "$current" ] || rm -rf "$other"
  done
}

serve() { # SERVICE CONFIG_FOLDER OWNER [NAME...]
  service=$1 folder=$srv/config/$2/tls owner=$3
  [ -d "$srv/config/$2" ] ||
    fail "cannot make a certificate: folder $srv/config/$2 is missing; is the data volume mounted? Bring the platform's folders back, then run up again"
  shift 3
  names=$(alternative_names "$service" "$@")
  is_good "$folder" "$names" >/dev/null 2>&1 || issue "$service" "$folder" "$owner" "$names"
  keep_to "$owner" "$folder/server.key"
  drop_others "$folder"
  facts=$(openssl x509 -in "$folder/server.crt" -noout -serial -enddate -fingerprint -sha256)
  report="$report# $service$(printf '%s' "$facts" | sed 's/.*=/ /' | tr -d '\n')
"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM

make_authority
report=
serve postgres-db postgres 999:999 "$@"
serve redis-cache redis 999:999 "$@"
serve pgbouncer pgbouncer 1001:1001 "$@"
openssl x509 -in "$authority/ca.crt"
printf '%s' "$report"
