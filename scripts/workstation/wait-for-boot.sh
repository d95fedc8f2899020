#!/bin/sh
# wait-for-boot.sh [--limit SECONDS] USER@HOST [SSH_OPTION...]: until the machine's cloud-init is through (900 s at most).
#
# The machine's host key is not known yet: it is read from the console that cloud-init prints it on. So whoever answers is
# taken for the machine, and that does no harm: nothing secret is sent (public keys prove themselves by a signature
# that is good for this connection alone; passwords, tickets, agent and forwardings are off), and of what comes back
# nothing is used but when to look at the console. From there on, every connection demands the key.
set -eu
# In English, for what is recognised below.
LC_ALL=C
export LC_ALL
limit=900
if [ "${1:-}" = --limit ]; then
  limit=$2
  shift 2
fi
target=$1
shift
PAUSE_SECONDS=5
# cloud-init puts the key in its place before sshd starts, or soon after.
DENIED_SECONDS=90
host=${target#*@}

say() {
  echo "$1" >&2
}

fail() {
  say "$1"
  exit 1
}

command -v ssh >/dev/null || fail "there is no ssh on this workstation; install OpenSSH's client"

ask() { # SSH_OPTION...
  ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null \
    -o BatchMode=yes -o PasswordAuthentication=no -o GSSAPIAuthentication=no -o ForwardAgent=no -o ForwardX11=no -o ControlMaster=no -o ControlPath=none \
    -o ClearAllForwardings=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 \
    -o LogLevel=ERROR "$@" "$target" "timeout $left cloud-init status --wait --long" </dev/null 2>&1
}

# Why it does not answer, as one word, from the last words of ssh.
reason() {
  case $1 in
    *'Connection refused'*) echo refused ;;
    *'Permission denied'* | *'Too many authentication failures'*) echo denied ;;
    *'command-line line'* | *'onfiguration option'* | *'unknown option'* | *'usage: ssh'* | *'Could not resolve'* | *'Host key verification failed'*) echo wrong ;;
    *) echo silent ;;
  esac
}

start=$(date +%s)
now=$start
denied_since='' reported='' problem=silent last=''
while left=$((start + limit - now)) && [ "$left" -gt 0 ]; do
  code=0
  answer=$(ask "$@") || code=$?
  now=$(date +%s)
  case $code in
    255) ;;
    0 | 2)
      # Oracle's cloud-init exits with 0 where others exit with 2.
      case $code$answer in
        2* | *degraded*) say "$host is up, and cloud-init noted errors that it got over: sudo cloud-init status --long" ;;
      esac
      exit 0
      ;;
    124) break ;;
    127) fail "$host has no cloud-init or no timeout, so it is not one of Oracle Linux's platform images: $answer" ;;
    *) fail "cloud-init failed on $host (exit code $code); log in and see: sudo cloud-init status --long, sudo less /var/log/cloud-init-output.log" ;;
  esac
  last=$(printf '%s\n' "$answer" | tail -n 1)
  problem=$(reason "$answer")
  case $problem in
    wrong) fail "ssh cannot do what it was asked: $last" ;;
    denied)
      denied_since=${denied_since:-$now}
      [ "$((now - denied_since))" -lt "$DENIED_SECONDS" ] || break
      ;;
    *) denied_since= ;;
  esac
  [ "$problem" = "$reported" ] || say "waiting for $host: $last"
  reported=$problem
  sleep "$PAUSE_SECONDS"
  now=$(date +%s)
done

if [ "${code:-255}" = 124 ]; then
  fail "cloud-init is still running on $host after $limit s; see what it does (sudo cloud-init status --long), then run up again"
fi
case $problem in
  refused) fail "$host refuses connections to port 22 after $limit s: the machine is there and its sshd is not; see its console in OCI, then run up again" ;;
  denied) fail "$host refuses the login ($last): central-data-platform:host.sshPublicKey does not belong to host.sshKeyFile, or to a key that ssh-add -l lists" ;;
  *) fail "$host gave no answer on port 22 for $limit s ($last); see that the instance runs, and that host.sshCidrs holds this workstation's own address" ;;
esac
