SET client_min_messages = warning;
BEGIN;
ALTER ROLE platform_admin SET statement_timeout = 0;
SELECT 'CREATE ROLE pgbouncer_auth' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgbouncer_auth') \gexec
ALTER ROLE pgbouncer_auth LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT CONNECTION LIMIT 20;
SELECT 'CREATE ROLE platform_backup' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'platform_backup') \gexec
ALTER ROLE platform_backup LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
SELECT 'CREATE ROLE platform_restore' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'platform_restore') \gexec
ALTER ROLE platform_restore LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS INHERIT;
-- It fills tables, sequences and large objects whosever they are; it may connect only where restore.sh says so.
GRANT pg_write_all_data TO platform_restore;
ALTER ROLE platform_restore SET lo_compat_privileges = on;
ALTER ROLE platform_restore SET statement_timeout = 0;
SELECT 'CREATE ROLE platform_hemmed NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'platform_hemmed') \gexec
-- These are the platform's: applications have databases of their own.
REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO pgbouncer_auth, platform_backup;
CREATE SCHEMA IF NOT EXISTS pgbouncer AUTHORIZATION platform_admin;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer_auth;
CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(name text, OUT uname name, OUT phash text) RETURNS SETOF record
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
  AS $$SELECT rolname, rolpassword FROM pg_authid
       WHERE rolname = $1 AND rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > now())$$;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer_auth;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
-- WAL stays until the receiver has it; how much of it at most, max_slot_wal_keep_size says.
SELECT pg_create_physical_replication_slot('postgres_wal', true)
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'postgres_wal');
COMMIT;
