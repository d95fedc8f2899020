#!/bin/sh
# label-tree.sh SRV_ROOT: give the tree its SELinux labels, and have them stay.
#
# What is mounted into containers is container_file_t, an application's folder too. Scripts are bin_t: systemd starts nothing else.
set -eu
srv=$1

fail() {
  echo "$1" >&2
  exit 1
}

state=$(getenforce 2>/dev/null || echo Disabled)
if [ "$state" = Disabled ]; then
  echo "SELinux is off on this machine: nothing to label"
  exit 0
fi
command -v semanage >/dev/null || dnf -y -q install policycoreutils-python-utils </dev/null >/dev/null ||
  fail "SELinux is $state, and semanage is missing and dnf could not install it (the lines above say why); install policycoreutils-python-utils, then run up again"

# A rule is a regular expression without blanks.
root=$(printf '%s' "$srv" | sed 's|[^A-Za-z0-9/_-]|\\&|g; s|\\[[:space:]]|\\s|g')
rules=$(semanage fcontext --list --locallist --noheading)

rule() { # PATTERN TYPE
  has=$(printf '%s\n' "$rules" | PATTERN=$1 awk '$1 == ENVIRON["PATTERN"] { split($NF, part, ":"); print part[3] }')
  case $has in
    "$2") ;;
    '') semanage fcontext --add --type "$2" "$1" ;;
    *) semanage fcontext --modify --type "$2" "$1" ;;
  esac
}

for folder in config data run backups; do
  rule "$root/$folder(/.*)?" container_file_t
done
rule "$root/apps/[^/.]+/.*" container_file_t
# With `.new`: a file has its label before it has its name (write-file.sh).
rule "$root/apps/[^/]*\\.sh(\\.new)?" bin_t
rule "$root/apps/bootstrap\\.d(/.*)?" bin_t
rule "$root/apps/backup\\.d(/.*)?" bin_t
rule "$root/apps/status\\.d(/.*)?" bin_t
restorecon -R "$srv"
