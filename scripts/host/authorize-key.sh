#!/bin/sh
# authorize-key.sh USER: let the public keys of standard input log in as USER, and no earlier key of the platform.
#
# They stand in a block of their own in authorized_keys. Lines that people have added outside of it stay. What cloud-init
# has put there from the instance's metadata goes: that is the key of the first boot, which may have been changed since.
set -eu
umask 077
user=$1
BEGIN='# central-data-platform: made by Pulumi, an edit in this block is overwritten'
END='# central-data-platform: end'

fail() {
  echo "$1" >&2
  exit 1
}

blobs() {
  grep -o 'AAAA[0-9A-Za-z+/]*=*' || true
}

entry=$(getent passwd "$user") || fail "there is no user $user on this machine; the image is not Oracle Linux's"
home=$(printf '%s\n' "$entry" | cut -d : -f 6)
folder=$home/.ssh
file=$folder/authorized_keys

keys=$(grep -v -e '^[[:space:]]*$' -e '^#' || true)
[ -n "$keys" ] || fail "no public key came on standard input, so $file stays as it is; run up again"
# One at a time, since ssh-keygen passes over what it cannot read in a longer list.
printf '%s\n' "$keys" | while IFS= read -r key; do
  printf '%s\n' "$key" | ssh-keygen -l -f - >/dev/null 2>&1 || exit 1
done || fail "central-data-platform:host.sshPublicKey is not a public key that OpenSSH reads, so $file stays as it is"

first_boot=
if command -v cloud-init >/dev/null; then
  first_boot=$(cloud-init query v1.public_ssh_keys 2>/dev/null) ||
    fail "cloud-init does not say which keys the instance was made with, so an old one might stay in $file; see cloud-init query v1.public_ssh_keys"
fi
ours=$(printf '%s\n%s\n' "$keys" "$first_boot" | blobs)

mkdir -p "$folder"
[ -e "$file" ] || : >"$file"
{
  OURS=$ours BEGIN=$BEGIN END=$END awk '
    BEGIN { count = split(ENVIRON["OURS"], blob, "\n"); for (i = 1; i <= count; i++) ours[blob[i]] }
    $0 == ENVIRON["BEGIN"] { inside = 1 }
    !inside { keep = 1; for (i = 1; i <= NF; i++) if ($i in ours) keep = 0; if (keep) print }
    $0 == ENVIRON["END"] { inside = 0 }
  ' "$file"
  printf '%s\n%s\n%s\n' "$BEGIN" "$keys" "$END"
} >"$file.new"
grep -q AAAA "$file.new" || fail "$file would have no key; it stays as it is"
chown "$user:$(id -gn "$user")" "$folder" "$file.new"
sync "$file.new"
mv -f "$file.new" "$file"
# Without its label sshd may not read it.
if command -v restorecon >/dev/null; then restorecon -R "$folder"; fi
