# shellcheck shell=sh
# shellcheck disable=SC2154 # of status.sh and common.sh
# What Docker says of the containers, asked once for all checks: files of $work.
#
#   docker      the engine's version; without it Docker does not answer
#   pins        a line each: name, and the image that `up` has written down
#   containers  a line each: name, status, health, exit code, killed for lack of memory, restarts, started, ended,
#               process id, limit of its memory in bytes, image

FORMAT='{{slice .Name 1}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.State.ExitCode}}'
FORMAT="$FORMAT {{.State.OOMKilled}} {{.RestartCount}} {{.State.StartedAt}} {{.State.FinishedAt}} {{.State.Pid}} {{.HostConfig.Memory}} {{.Config.Image}}"

look_at_containers() {
  : >"$work/containers"
  pins >"$work/pins"
  ask 3 docker version --format '{{.Server.Version}}' || return 0
  printf '%s\n' "$answer" >"$work/docker"
  # shellcheck disable=SC2046 # names of containers have no blanks
  ask 3 docker container inspect --format "$FORMAT" $(cut -d ' ' -f 1 <"$work/pins") || case $why in
    'no answer within'*) rm "$work/docker" && return ;;
  esac
  # The others are told where one is missing.
  printf '%s\n' "$answer" >"$work/containers"
}

# From the compose file, as components/render/service.py writes it.
pins() {
  [ -r "$compose" ] || {
    printf '%s\n' postgres-db redis-cache pgbouncer
    return
  }
  awk '/^[^ ]/ { within = $1 == "services:" } within && /^  [^ ]/ { name = $1; sub(/:$/, "", name) }
    within && /^    image: / { print name, $2 }' "$compose"
}
