BEGIN;
SET LOCAL log_min_duration_statement = -1;
ALTER ROLE platform_admin PASSWORD 'SCRAM-SHA-256$4096:87fCT5j0BLcO/EXOkFozZA==$DB53fz2Bh+0zXcHv19NZmOMSmYiIgWTSM6sEjkeNq9k=:kjrcMJS9VA8P6eGf9zy8w9SITNo7NzTY1Fy/r3HJqEM=';
ALTER ROLE platform_admin SET statement_timeout = 0;
SELECT 'CREATE ROLE pgbouncer_auth' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgbouncer_auth') \gexec
ALTER ROLE pgbouncer_auth LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT CONNECTION LIMIT 20
  PASSWORD 'SCRAM-SHA-256$4096:D6Afh0m086sAfZLTVZVaTA==$kuvpyZNYZkq0MPQ76Iw7z8vncwQZT9vXKswMDpn//jk=:n+8wrv4iedBdMGjRRf4XBgsom0bzEAMX0mPpZda2aNM=';
CREATE SCHEMA IF NOT EXISTS pgbouncer AUTHORIZATION platform_admin;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer_auth;
CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(name text, OUT uname name, OUT phash text) RETURNS SETOF record
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
  AS $$SELECT rolname, rolpassword FROM pg_authid
       WHERE rolname = $1 AND rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > now())$$;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer_auth;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
COMMIT;
