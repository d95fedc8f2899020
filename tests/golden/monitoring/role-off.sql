-- Monitoring is off.
SELECT format('DROP OWNED BY %1$I; DROP ROLE %1$I', rolname) FROM pg_roles WHERE rolname = 'platform_monitor' \gexec
