# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# What ends on a day: certificates, and leave for weak passwords.
group='Certificates and waivers'

certificate() { # NAME FILE
  if ! end=$(openssl x509 -enddate -noout -in "$2" 2>/dev/null); then
    check "$1" fail "$2 cannot be read as a certificate; run make up"
  elif ! openssl x509 -checkend 604800 -noout -in "$2" >/dev/null; then
    check "$1" fail "$2 has ended, or ends within 7 days (${end#notAfter=}); run make up"
  elif ! openssl x509 -checkend 2592000 -noout -in "$2" >/dev/null; then
    check "$1" warn "$2 ends within 30 days (${end#notAfter=}); run make up"
  else
    check "$1" ok "valid until ${end#notAfter=}"
  fi
}

certificates() {
  command -v openssl >/dev/null || return 0
  for file in "$srv"/config/*/tls/server.crt "$srv/config/tls/ca.crt"; do
    [ -e "$file" ] || continue
    name=${file#"$srv/config/"}
    case $name in
      tls/ca.crt) certificate tls-ca "$file" ;;
      *) certificate "tls-${name%%/*}" "$file" ;;
    esac
  done
}

# A weak password that is put up with is never fine.
waivers() {
  [ -f "$srv/config/waivers.tsv" ] || return 0
  sed '/^#/d' "$srv/config/waivers.tsv" | while IFS=$tab read -r application until reason; do
    if [ "$(date -u +%Y%m%d)" -gt "$(echo "$until" | tr -d -)" ]; then
      check "waiver-$application" fail "its leave for a weak password ended on $until ($reason); set a strong one"
    else
      check "waiver-$application" warn "weak password until $until: $reason"
    fi
  done
}

certificates
waivers
