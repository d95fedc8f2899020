"""Text of PostgreSQL's configuration and of the SQL that brings its roles in order."""

import re
from collections.abc import Mapping, Sequence

from components.native_names import POSTGRES_AT_START
from components.render import monitoring
from components.settings import PostgresSettings, Settings

# Where the files of this module are mounted in the container.
CONFIG_DIR = "/etc/postgresql"
# Where its Unix socket is, in every container that has it.
SOCKET_DIR = "/var/run/postgresql"
# Where the data are in the container, whatever the major version.
DATA = "/var/lib/postgresql/data"
ADMIN = "platform_admin"
AUTH_ROLE = "pgbouncer_auth"
# Streams WAL and takes base backups, over the socket alone: it has no password.
BACKUP_ROLE = "platform_backup"
# Fills a database that is being restored, over the socket alone: functions of the application's run then, and not as a superuser.
RESTORE_ROLE = "platform_restore"
# What holds WAL back until postgres-wal has it.
WAL_SLOT = "postgres_wal"
# Its members have a weak password; one leaves it in the step in which it gets a strong one (password.sh).
HEMMED = "platform_hemmed"

# Type, database, user, address and method.
HbaRule = tuple[str, str, str, str, str]


def parameters(settings: PostgresSettings) -> dict[str, str]:
    """Name and value of every parameter that is set: the platform's own, then those of the machine's shape and of the operator (settings.parameters)."""
    own = {
        "listen_addresses": "'*'",
        "unix_socket_directories": f"'{SOCKET_DIR}'",
        "hba_file": f"'{CONFIG_DIR}/pg_hba.conf'",
        "ident_file": f"'{CONFIG_DIR}/pg_ident.conf'",
        "max_connections": str(settings.max_connections),
        "shared_preload_libraries": "'pg_stat_statements'",
        "wal_level": "replica",
        "max_wal_senders": "10",
        "max_replication_slots": "10",
        "summarize_wal": "on",
        "max_slot_wal_keep_size": f"{settings.slot_wal_limit}MB",
        "password_encryption": "scram-sha-256",
        "ssl": "on",
        "ssl_cert_file": f"'{CONFIG_DIR}/tls/server.crt'",
        "ssl_key_file": f"'{CONFIG_DIR}/tls/server.key'",
        "ssl_min_protocol_version": "'TLSv1.2'",
        "timezone": f"'{settings.timezone}'",
        "log_timezone": f"'{settings.timezone}'",
        "statement_timeout": f"{settings.statement_timeout_seconds}s",
        "idle_in_transaction_session_timeout": f"{settings.idle_in_transaction_timeout_seconds}s",
        # A client that vanished must not keep its query and its locks.
        "client_connection_check_interval": "10s",
        "tcp_keepalives_idle": "60s",
        # Standard error is the container's log, which Docker rotates.
        "logging_collector": "off",
        "log_line_prefix": "'%m [%p] %q%u@%d/%a '",
        "log_min_duration_statement": f"{settings.slow_query_milliseconds}ms",
        # Bind values may be secrets: never in the log.
        "log_parameter_max_length": "0",
        "log_lock_waits": "on",
        "log_connections": "on",
        "log_disconnections": "on",
        "log_checkpoints": "on",
    }
    return own | {name: _value(text) for name, text in settings.parameters.items()}


def _value(text: str) -> str:
    """A value as postgresql.conf has it; in quotes, a backslash means something too (guc-file.l)."""
    if re.fullmatch(r"-?[A-Za-z0-9_.]+", text):
        return text
    doubled = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


def restart_part(settings: PostgresSettings) -> str:
    """The parameters that need a restart, for a label that makes the container follow them."""
    return _lines({k: v for k, v in parameters(settings).items() if k in POSTGRES_AT_START})


def postgresql_conf(settings: PostgresSettings) -> str:
    """postgresql.conf: the whole of it, no file is included."""
    every = parameters(settings)
    reloaded = {k: v for k, v in every.items() if k not in POSTGRES_AT_START}
    return (
        "# Made by Pulumi. A changed value of the first part replaces the container, one of the second is reloaded.\n\n"
        "# Taken at the start\n" + restart_part(settings) + "\n# Taken at a reload\n" + _lines(reloaded)
    )


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def pg_hba_conf(settings: Settings) -> str:
    """pg_hba.conf: the first line that fits decides."""
    subnet = str(settings.network.subnet)
    pooler = f"{settings.network.pooler_address}/32"
    rules = [
        ("local", "all", ADMIN, "", "peer map=operator"),
        *(("host", "all", "all", proxy, "reject") for proxy in proxied(settings)),
        *(
            ("local", database, BACKUP_ROLE, "", "peer map=operator")
            for database in ("replication", "postgres")
        ),
        *forbidden(BACKUP_ROLE),
        ("local", "all", RESTORE_ROLE, "", "peer map=operator"),
        *forbidden(RESTORE_ROLE),
        *(monitor_rules("postgres") if settings.monitoring.enabled else []),
        ("host", "postgres", AUTH_ROLE, subnet, "scram-sha-256"),
        *forbidden(AUTH_ROLE),
        *waived_rules(settings, further=[pooler]),
        # Whose waiver has gone from the settings stays out, until its password has gone too.
        *forbidden(f"+{HEMMED}"),
        *application_rules(settings),
        *everybody(settings),
    ]
    return (
        "# Made by Pulumi. Root inside the container is the operator; everybody else proves a password, from outside over TLS.\n"
        + hba_lines(rules)
    )


def monitor_rules(database: str) -> list[HbaRule]:
    """The exporters' role, in one database over the socket, and nowhere else."""
    role = monitoring.ROLE
    return [("local", database, role, "", f"peer map={monitoring.IDENT_MAP}"), *forbidden(role)]


def everybody(settings: Settings, database: str = "all", user: str = "all") -> list[HbaRule]:
    """Who may connect to a database as a user, and that nobody else may."""
    method = "scram-sha-256"
    return [
        ("local", database, user, "", method),
        ("host", database, user, "127.0.0.1/32", method),
        ("host", database, user, str(settings.network.subnet), method),
        *(("hostssl", database, user, str(client), method) for client in settings.outside_clients),
        *forbidden(user),
    ]


def forbidden(user: str) -> list[HbaRule]:
    """That a user may connect to nothing more."""
    # Over the socket, no line that fits is a refusal too.
    return [
        *([("local", "all", user, "", "reject")] if user != "all" else []),
        ("host", "all", user, "all", "reject"),
    ]


def application_rules(settings: Settings) -> list[HbaRule]:
    """Each application's login into its own database alone, wherever else somebody may have opened one to everybody."""
    rules: list[HbaRule] = []
    for application in settings.application_list:
        if not application.settings.password_waiver:
            rules += everybody(settings, hba_name(application.database), hba_name(application.login))
    return rules


def waived_rules(settings: Settings, *, further: Sequence[str] = ()) -> list[HbaRule]:
    """A login whose weak password is put up with: from its own address alone, and `further` ones."""
    rules: list[HbaRule] = []
    for application in settings.application_list:
        if application.settings.password_waiver:
            database, user = hba_name(application.database), hba_name(application.login)
            places = [f"{application.settings.address}/32", *further]
            rules += [("host", database, user, place, "scram-sha-256") for place in places]
            rules += forbidden(user)
    return rules


def hba_name(name: str) -> str:
    """A name that is nothing but a name: bare, `all` and `replication` mean something, and + and / too."""
    return f'"{name}"'


def proxied(settings: Settings) -> list[str]:
    """The addresses whose connections come from somewhere else, and nobody knows from where.

    Docker hands a published port on by a firewall rule, which leaves the client's address as it is. Where that rule is
    missing (a firewall was loaded anew) its proxy does it instead, and the client seems to be the bridge's gateway. On
    127.0.0.1 only the host's own users can come that way.
    """
    if settings.publish_address.is_loopback:
        return []
    return [f"{settings.network.gateway_address}/32"]


def hba_lines(rules: Sequence[HbaRule]) -> str:
    """The rules in columns."""
    widths = [max(len(rule[column]) for rule in rules) for column in range(4)]
    return "".join(
        "  ".join([*(c.ljust(w) for c, w in zip(rule, widths, strict=False)), rule[4]]) + "\n"
        for rule in rules
    )


def pg_ident_conf(*, monitored: bool = False) -> str:
    """pg_ident.conf: who on the socket may be one of the platform's roles without a password."""
    lines = [
        f"operator  {user:8}  {role}\n"
        for role in (ADMIN, BACKUP_ROLE, RESTORE_ROLE)
        for user in ("root", "postgres")
    ]
    return "# Made by Pulumi.\n" + "".join([*lines, *([monitoring.ident_line()] if monitored else [])])


def roles_sql() -> str:
    """The platform's own roles, without their passwords. Running it again changes nothing.

    PgBouncer looks passwords up through a SECURITY DEFINER function, so that its role may read no table of passwords
    (https://www.pgbouncer.org/config.html, auth_query). The function is volatile: while a password is being changed it waits,
    and has to see what holds afterwards.
    """
    return f"""\
SET client_min_messages = warning;
BEGIN;
ALTER ROLE {ADMIN} SET statement_timeout = 0;
SELECT 'CREATE ROLE {AUTH_ROLE}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{AUTH_ROLE}') \\gexec
ALTER ROLE {AUTH_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT CONNECTION LIMIT 20;
SELECT 'CREATE ROLE {BACKUP_ROLE}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{BACKUP_ROLE}') \\gexec
ALTER ROLE {BACKUP_ROLE} LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
SELECT 'CREATE ROLE {RESTORE_ROLE}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{RESTORE_ROLE}') \\gexec
ALTER ROLE {RESTORE_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS INHERIT;
-- It fills tables, sequences and large objects whosever they are; it may connect only where restore.sh says so.
GRANT pg_write_all_data TO {RESTORE_ROLE};
ALTER ROLE {RESTORE_ROLE} SET lo_compat_privileges = on;
ALTER ROLE {RESTORE_ROLE} SET statement_timeout = 0;
SELECT 'CREATE ROLE {HEMMED} NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{HEMMED}') \\gexec
-- These are the platform's: applications have databases of their own.
REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO {AUTH_ROLE}, {BACKUP_ROLE};
CREATE SCHEMA IF NOT EXISTS pgbouncer AUTHORIZATION {ADMIN};
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO {AUTH_ROLE};
CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(name text, OUT uname name, OUT phash text) RETURNS SETOF record
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
  AS $$SELECT rolname, rolpassword FROM pg_authid
       WHERE rolname = $1 AND rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > now())$$;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO {AUTH_ROLE};
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
-- WAL stays until the receiver has it; how much of it at most, max_slot_wal_keep_size says.
SELECT pg_create_physical_replication_slot('{WAL_SLOT}', true)
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{WAL_SLOT}');
COMMIT;
"""
