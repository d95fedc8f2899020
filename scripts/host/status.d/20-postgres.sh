# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # of status.d/common.sh
# What PostgreSQL says of itself, asked once: connections, transactions, how far its numbers are used up, slots.
group='PostgreSQL, PgBouncer, Redis'
# A query by hand may take its time, and no longer; the platform's own limits end what applications leave open (docs/manual.md).
LONG_SECONDS=$HOUR STUCK_SECONDS=$DAY

if ! runs postgres-db; then
  unknown "$why" postgres connections transactions wraparound slots
  return
fi
# Ordinary clients get no connection that is kept for superusers. Numbers of transactions wrap around at 2^31
# (https://www.postgresql.org/docs/17/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND).
if ! sql <<'END'
WITH clients AS (
  SELECT *, extract(epoch FROM clock_timestamp() - xact_start)::bigint AS seconds FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
), oldest AS (
  SELECT seconds, pid, usename FROM clients WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 1
)
SELECT split_part(current_setting('server_version'), ' ', 1),
  extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::bigint,
  (SELECT count(*) FROM pg_settings WHERE pending_restart),
  (SELECT count(*) FROM clients),
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),
  (SELECT count(*) FROM clients WHERE wait_event_type = 'Lock'),
  coalesce((SELECT seconds FROM oldest), 0),
  coalesce((SELECT pid FROM oldest), 0),
  (SELECT count(*) FROM clients WHERE state LIKE 'idle in transaction%'),
  (SELECT max(greatest(age(datfrozenxid), mxid_age(datminmxid))) * 100::bigint / (1::bigint << 31) FROM pg_database),
  (SELECT count(*) FROM pg_replication_slots),
  (SELECT string_agg(slot_name, ', ' ORDER BY slot_name) FROM pg_replication_slots WHERE NOT active AND slot_name <> 'postgres_wal'),
  (SELECT regexp_replace(usename, '[^[:alnum:]_.@ -]', '?', 'g') FROM oldest);
END
then
  case $why in
    *'too many clients'*)
      check connections fail "not one is left, and none of those that are kept for superusers; end a client, or docker restart postgres-db"
      unknown "PostgreSQL has no connection left" postgres transactions wraparound slots
      ;;
    *)
      check postgres fail "container postgres-db runs, and PostgreSQL does not answer: $why; see docker logs postgres-db"
      unknown "PostgreSQL does not answer" connections transactions wraparound slots
      ;;
  esac
  return
fi
IFS='|' read -r version up waiting used most locked longest pid idle wrapped slots unused who <<END
$answer
END

if [ "$waiting" = 0 ]; then
  check postgres ok "version $version, up $(age "$up")"
else
  check postgres warn "version $version, up $(age "$up"); $waiting settings wait for a restart: docker restart postgres-db when it suits"
fi

share=$(percent "$used" "$most")
state=$(level "$share" 80 95)
remedy="; SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2 says whose (make psql)"
[ "$state" != ok ] || remedy=
check connections "$state" "$used of $most in use ($share %), $locked wait for a lock$remedy"

state=$(level "$longest" "$LONG_SECONDS" "$STUCK_SECONDS")
remedy="; SELECT pg_terminate_backend($pid) ends it (make psql)"
[ "$state" != ok ] || remedy=
check transactions "$state" "the longest is $(age "$longest") old${who:+, of $who}; $idle idle in transaction$remedy"

state=$(level "$wrapped" 50 75)
remedy="; vacuum cannot keep up: look for long transactions and unused slots, then VACUUM (make psql)"
[ "$state" != ok ] || remedy=
check wraparound "$state" "$wrapped % of the transaction numbers are used up$remedy"

if [ -z "$unused" ]; then
  check slots ok "$slots, all in use"
else
  check slots warn "nobody reads $unused, for which WAL is kept; if it is not needed: SELECT pg_drop_replication_slot(...) (make psql)"
fi
