# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# The machine: memory, disk, its services, and the file with the secrets.
group=Machine
CGROUPS=/sys/fs/cgroup

# What a container uses, without the pages of files, which the system takes back (kernel: cgroup-v2.rst, cgroup-v1/memory.rst).
used_memory() { # PROCESS ID: bytes; nothing where the system does not say
  legacy=$(sed -n 's/^[0-9]*:memory://p' "/proc/$1/cgroup" 2>/dev/null)
  if [ -n "$legacy" ]; then
    folder=$CGROUPS/memory$legacy total=memory.usage_in_bytes prefix=total_
  else
    folder=$CGROUPS$(sed -n 's/^0:://p' "/proc/$1/cgroup" 2>/dev/null) total=memory.current prefix=
  fi
  [ -r "$folder/$total" ] || return 0
  awk -v prefix="$prefix" 'FNR == 1 && NR == 1 { used = $1 } $1 == prefix "inactive_file" || $1 == prefix "active_file" { used -= $2 }
    END { printf "%.0f\n", used }' "$folder/$total" "$folder/memory.stat"
}

container_memory() {
  worst=0 list='' tight=''
  while read -r name status _ _ _ _ _ _ pid limit _; do
    [ "$status" = running ] && [ "$limit" -gt 0 ] || continue
    used=$(used_memory "$pid")
    [ -n "$used" ] || continue
    share=$(percent "$used" "$limit")
    list="$list${list:+, }$name $share % of $(size "$limit")"
    [ "$share" -lt 85 ] || tight="$tight${tight:+, }$name"
    [ "$share" -le "$worst" ] || worst=$share
  done <"$work/containers"
  # Not everywhere is a container's share of this system's files the one that we see: Docker Desktop's are in a machine of its own.
  [ -n "$list" ] || return 0
  check memory "$(level "$worst" 85 95)" "$list${tight:+; $tight may be killed for lack of memory: raise its memory in the settings, then make up}"
}

machine_memory() {
  set -- "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)"
  state=$(level $((100 - $(percent "$1" "$2"))) 90 96)
  remedy="; ps aux --sort=-rss shows who has the rest"
  [ "$state" != ok ] || remedy=
  check machine-memory "$state" "$(size $(($1 * 1024))) of $(size $(($2 * 1024))) can be had$remedy"
}

disk() {
  used=$(df -P "$srv" | awk 'NR == 2 { sub("%", "", $5); print $5 }')
  free=$(df -Ph "$srv" | awk 'NR == 2 { print $4 }')
  # shellcheck source=/dev/null
  mark=$( (. "$srv/config/backup/backup.env" && echo "$DISK_MARK") 2>/dev/null || echo 85)
  state=$(level "$used" "$mark" 95)
  remedy="; du -xh -d 2 $srv | sort -h shows what takes it"
  [ "$state" != ok ] || remedy=
  check disk "$state" "$used% used, $free free$remedy"
}

secrets() {
  if [ "$(stat -c %a:%u "$srv/config/platform.env" 2>/dev/null)" = 600:0 ]; then
    check secrets ok "platform.env is root's, mode 600"
  else
    check secrets fail "$srv/config/platform.env is missing, or not root's with mode 600; run make up ARGS=--refresh"
  fi
}

# Only on a machine that has a volume for this tree.
data_volume() {
  # As attach-data.sh writes it: a blank ends a field.
  where=$(printf '%s' "$srv" | sed 's/\\/\\134/g; s/ /\\040/g; s/\t/\\011/g')
  wanted=$(WHERE=$where awk '$2 == ENVIRON["WHERE"] && sub(/^UUID=/, "", $1) { print $1 }' /etc/fstab 2>/dev/null) || return 0
  [ -n "$wanted" ] || return 0
  if [ "$(findmnt --noheadings --output UUID --mountpoint "$srv" 2>/dev/null)" = "$wanted" ]; then
    check data-volume ok "mounted at $srv, UUID $wanted"
  else
    check data-volume fail "the volume of /etc/fstab (UUID $wanted) is not mounted at $srv; attach it, then: systemctl start docker"
  fi
}

# Only on a machine that attach-data.sh has prepared.
machine_services() {
  [ -e /etc/systemd/system/docker.service.d/50-data-volume.conf ] || return 0
  missing=
  for unit in docker.service firewalld.service chronyd.service dnf-automatic.timer; do
    systemctl --quiet is-enabled "$unit" 2>/dev/null && systemctl --quiet is-active "$unit" || missing="$missing $unit"
  done
  if [ -z "$missing" ]; then
    check machine ok "its services run, now and after a reboot"
  else
    check machine fail "not running, or not after a reboot:$missing; systemctl enable --now$missing"
  fi
}

container_memory
machine_memory
disk
data_volume
machine_services
secrets
