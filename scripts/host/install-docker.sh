#!/bin/sh
# install-docker.sh DOCKER_VERSION COMPOSE_VERSION: Docker's packages for Oracle Linux 10, locked at their versions.
#
# A version is one such as 28.5.2, or `newest`: the newest at the first installation, which then stays. The lock is kept
# by dnf, since another compose knows containers by other hashes and would make all of them again.
set -eu
umask 022
docker=$1 compose=$2
REPOSITORY=https://download.docker.com/linux/rhel/docker-ce.repo
NAMES="docker-ce docker-ce-cli containerd.io docker-compose-plugin"
repository_file=/etc/yum.repos.d/docker-ce.repo
locks=/etc/dnf/plugins/versionlock.list
load=/etc/modules-load.d/central-data-platform.conf

fail() {
  echo "$1" >&2
  exit 1
}

for tool in dnf rpm; do
  command -v "$tool" >/dev/null || fail "this machine has no $tool; use an image of Oracle Linux 10"
done

get() { # PACKAGE...
  rpm -q "$@" >/dev/null 2>&1 || dnf -y -q --setopt=install_weak_deps=False install "$@" </dev/null >/dev/null
}

versions() { # NAME: what the repository has
  dnf -q list --showduplicates --available "$1" </dev/null 2>/dev/null |
    awk 'NR > 1 { sub(/^[0-9]+:/, "", $2); sub(/-[^-]*$/, "", $2); print $2 }' | sort -uV | tr '\n' ' '
}

package() { # NAME VERSION
  if [ "$2" = newest ]; then echo "$1"; else echo "$1-$2"; fi
}

lock() { # NAME: the line by which dnf's plugin knows the version that is installed
  rpm -q --queryformat '%{NAME}-%|EPOCH?{%{EPOCH}}:{0}|:%{VERSION}-%{RELEASE}.*\n' "$1"
}

is_locked() { # NAME
  [ -e "$locks" ] && grep -qxF -- "$(lock "$1")" "$locks"
}

get dnf-plugins-core python3-dnf-plugin-versionlock ||
  fail "dnf could not install its plugins (the lines above say why); see that the machine reaches Oracle's repositories, then run up again"
grep -qs '^\[docker-ce-stable\]' "$repository_file" || dnf -q config-manager --add-repo "$REPOSITORY" </dev/null >/dev/null ||
  fail "Docker's repository $REPOSITORY could not be added (the lines above say why); see that the machine reaches it, then run up again"

# Docker's rules need modules that no longer come with the kernel itself. A kernel of another vendor has its own way.
kernel=$(uname -r)
case $kernel in
  *uek*) modules=kernel-uek-modules-extra-netfilter-$kernel ;;
  *.el*) modules=kernel-modules-extra-$kernel ;;
  *) modules= ;;
esac
[ -z "$modules" ] || get "$modules" ||
  fail "$modules could not be installed (the lines above say why); update the kernel (dnf -y update, then reboot) and run up again"

wanted="$(package docker-ce "$docker") $(package docker-ce-cli "$docker") containerd.io $(package docker-compose-plugin "$compose")"
# shellcheck disable=SC2086 # one word a package
if ! rpm -q $wanted >/dev/null 2>&1; then
  for name in $NAMES; do
    # A lock of another version would hide the one that is wanted.
    ! grep -qs "^$name-[0-9]*:" "$locks" ||
      dnf -q versionlock delete "$name" </dev/null >/dev/null
  done
  get $wanted || {
    available=$(versions docker-ce)
    [ -n "$available" ] ||
      fail "Docker's repository does not answer (the lines above say why); see that the machine reaches ${REPOSITORY%/*}, then run up again"
    fail "Docker $docker with compose $compose could not be installed (the lines above say why); there are docker-ce $available and docker-compose-plugin $(versions docker-compose-plugin): correct central-data-platform:host.dockerVersion or composeVersion"
  }
fi
unlocked=
for name in $NAMES; do
  is_locked "$name" || unlocked="$unlocked $name"
done
# shellcheck disable=SC2086 # one word a package
[ -z "$unlocked" ] || dnf -q versionlock add $unlocked </dev/null >/dev/null
for name in $unlocked; do
  is_locked "$name" || fail "$name could not be locked at its version; see dnf versionlock list and $locks"
done

# Those that this kernel has; they are loaded at boot too.
for module in br_netfilter xt_addrtype iptable_nat ip6table_nat; do
  ! modprobe --quiet "$module" 2>/dev/null || echo "$module"
done >"$load.new"
sync "$load.new"
mv -f "$load.new" "$load"
