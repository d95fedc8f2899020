# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# What PgBouncer says of its pools, asked once.
group='PostgreSQL, PgBouncer, Redis'
# A restore holds clients back for a moment. After query_wait_timeout, 30 s, they get an error.
SLOW_SECONDS=5 STUCK_SECONDS=20

if ! runs pgbouncer; then
  unknown "$why" pools
  return
fi
if ! ask 8 env POOLER_TIMEOUT=6 "$apps/pooler.sh" show version pools; then
  check pools fail "container pgbouncer runs, and PgBouncer does not answer: $why; see docker logs pgbouncer"
  return
fi
# The console's own pool is not among them. A column has the width of its name or more, so it is found by its place in the line.
figures=$(printf '%s\n' "$answer" | awk -F ' *[|] *' '
  { sub(/^ +/, ""); sub(/ +$/, "") }
  /^PgBouncer / { version = $2 == "" ? $0 : $1; sub(/^PgBouncer /, "", version); sub(/ .*/, "", version) }
  /(^|[| ])cl_waiting([| ]|$)/ { for (i = 1; i <= NF; i++) column[$i] = i; next }
  NF < 5 || $1 == "pgbouncer" { next }
  {
    clients += $column["cl_active"] + $column["cl_waiting"]
    waiting += $column["cl_waiting"]
    servers += $column["sv_active"] + $column["sv_idle"] + $column["sv_used"] + $column["sv_tested"]
    if ($column["maxwait"] > longest) { longest = $column["maxwait"]; whose = $1 }
  }
  END { print version, clients + 0, waiting + 0, servers + 0, longest + 0, whose }')
read -r version clients waiting servers longest whose <<END
$figures
END
most=$(sed -n 's/^max_client_conn = \([0-9]*\)$/\1/p' "$srv/config/pgbouncer/pgbouncer.ini" 2>/dev/null) || most=
share=0
[ -z "$most" ] || share=$(percent "$clients" "$most")

detail="PgBouncer $version: $clients${most:+ of $most} clients on $servers connections"
slow=$(level "$longest" "$SLOW_SECONDS" "$STUCK_SECONDS")
case $slow$(level "$share" 80 95) in
  okok) check pools ok "$detail, $waiting wait" ;;
  *fail*) state=fail ;;
  *) state=warn ;;
esac
[ -n "${state:-}" ] || return 0
if [ "$slow" = ok ]; then
  check pools "$state" "$detail ($share %); SHOW CLIENTS says whose: sudo $apps/pooler.sh show clients"
else
  check pools "$state" "$detail, $waiting wait, the longest for $(age "$longest") ($whose): its pool is in use, or PgBouncer is paused (sudo $apps/pooler.sh resume)"
fi
