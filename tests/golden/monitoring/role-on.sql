-- Monitoring.
SELECT 'CREATE ROLE platform_monitor' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'platform_monitor') \gexec
ALTER ROLE platform_monitor LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT 5;
ALTER ROLE platform_monitor SET statement_timeout = '10s';
ALTER ROLE platform_monitor SET default_transaction_read_only = on;
GRANT pg_monitor TO platform_monitor;
GRANT CONNECT ON DATABASE postgres TO platform_monitor;
