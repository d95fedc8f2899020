#!/bin/sh
# Adds a user and its group to the root file system ROOT before any package can choose another number.
#
#   add-user.sh ROOT NAME ID HOME SHELL
#
# Written by hand because a root file system of essential packages has no useradd yet.
set -eu

root=$1 name=$2 id=$3 home=$4 shell=$5
echo "$name:x:$id:$id::$home:$shell" >>"$root/etc/passwd"
echo "$name:x:$id:" >>"$root/etc/group"
echo "$name:!:::::::" >>"$root/etc/shadow"
