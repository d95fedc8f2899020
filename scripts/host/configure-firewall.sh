#!/bin/sh
# configure-firewall.sh [check]: have firewalld run, with nothing but SSH let in to the machine itself; or say what else it lets in.
#
# It does not guard what containers publish: Docker passes that on before firewalld's zones see it. That is decided by
# the address that a port is published on, and by the network security group.
set -eu
# A dhcpv6-client renews the addresses of a network card, which OCI gives out by DHCP.
ALLOWED="ssh dhcpv6-client"

fail() {
  echo "$1" >&2
  exit 1
}

is_allowed() { # SERVICE
  for allowed in $ALLOWED; do
    [ "$1" != "$allowed" ] || return 0
  done
  return 1
}

firewall() {
  firewall-cmd --quiet "$@" || fail "firewalld refuses: firewall-cmd $*; see journalctl --unit firewalld, then run up again"
}

check() {
  zone=--zone=$(firewall-cmd --get-default-zone) || {
    echo "firewalld does not answer"
    return
  }
  for kept in --permanent ''; do
    when=${kept:+ from the next boot on}
    # shellcheck disable=SC2086 # no word where nothing is said
    {
      services=$(firewall-cmd $kept "$zone" --list-services)
      case " $services " in *" ssh "*) ;; *) echo "the firewall does not let in ssh$when" ;; esac
      for service in $services; do
        is_allowed "$service" || echo "the firewall lets in $service$when"
      done
      for port in $(firewall-cmd $kept "$zone" --list-ports); do
        echo "the firewall lets in port $port$when"
      done
    }
  done
}

if [ "${1:-}" = check ]; then
  check
  exit
fi
command -v firewall-cmd >/dev/null || dnf -y -q install firewalld </dev/null >/dev/null ||
  fail "firewalld is missing and dnf could not install it (the lines above say why); see that the machine reaches Oracle's repositories, then run up again"
systemctl --quiet enable --now firewalld.service ||
  fail "firewalld does not start; see journalctl --unit firewalld, then run up again"
zone=--zone=$(firewall-cmd --get-default-zone)

# What is in force and what is kept for the next boot, each by itself: a reload would take away Docker's rules for a moment.
for kept in --permanent ''; do
  # shellcheck disable=SC2086 # no word where nothing is said
  {
    services=$(firewall-cmd $kept "$zone" --list-services)
    case " $services " in *" ssh "*) ;; *) firewall $kept "$zone" --add-service=ssh ;; esac
    for service in $services; do
      is_allowed "$service" || firewall $kept "$zone" "--remove-service=$service"
    done
    for port in $(firewall-cmd $kept "$zone" --list-ports); do
      firewall $kept "$zone" "--remove-port=$port"
    done
  }
done
