"""Text of PgBouncer's configuration."""

from collections.abc import Mapping

from components.application_settings import Application
from components.native_names import PGBOUNCER_AT_START
from components.render import monitoring
from components.render.postgres import (
    ADMIN,
    AUTH_ROLE,
    SOCKET_DIR,
    application_rules,
    everybody,
    hba_lines,
    monitor_rules,
    proxied,
    waived_rules,
)
from components.settings import PgbouncerSettings, Settings

CONFIG_DIR = "/etc/pgbouncer"


def pgbouncer_ini(platform: Settings) -> str:
    """pgbouncer.ini (https://www.pgbouncer.org/config.html). What a setting changes is taken at a reload, but for restart_part()."""
    settings, network = platform.pgbouncer, str(platform.network.postgres_address)
    # Its parser knows no quotes here, and takes all that may be in a database's name as it is.
    pools = "".join(
        f"{a.database} = host={_way(a, network)} port=5432 pool_size={a.settings.pool}\n"
        for a in platform.application_list
    )
    # Who it is on the socket says its ident file, as with PostgreSQL.
    monitor = (
        f", {monitoring.ROLE}\nauth_ident_file = {CONFIG_DIR}/pg_ident.conf"
        if platform.monitoring.enabled
        else ""
    )
    return f"""\
; Made by Pulumi. A change is reloaded.
[databases]
{pools}* = host={network} port=5432

[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir = /var/run/pgbouncer

auth_type = hba
auth_hba_file = {CONFIG_DIR}/pg_hba.conf
auth_file = {CONFIG_DIR}/userlist.txt
auth_user = {AUTH_ROLE}
auth_dbname = postgres
auth_query = SELECT uname, phash FROM pgbouncer.user_lookup($1)
admin_users = {ADMIN}
stats_users = {ADMIN}{monitor}

pool_mode = transaction
max_prepared_statements = 200
default_pool_size = {settings.pool_size}
max_client_conn = {settings.max_clients}
{_lines(settings.parameters)}query_wait_timeout = 30
ignore_startup_parameters = extra_float_digits

; After a failed login everybody of the pool is turned away, by the words for the last failure: one who came with an old password is enough.
server_login_retry = 0.2

; Offered to all; pg_hba.conf says who must. The bridge network, where PostgreSQL is, stays inside this host.
client_tls_sslmode = allow
client_tls_cert_file = {CONFIG_DIR}/tls/server.crt
client_tls_key_file = {CONFIG_DIR}/tls/server.key
; Nobody is asked for a certificate; without a file here it would look for the system's, which its image need not have.
client_tls_ca_file = {CONFIG_DIR}/tls/ca.crt
client_tls_protocols = secure
server_tls_sslmode = disable
"""


def restart_part(settings: PgbouncerSettings) -> str:
    """The parameters that need a restart, for a label that makes the container follow them."""
    return _lines({name: value for name, value in settings.parameters.items() if name in PGBOUNCER_AT_START})


def _lines(parameters: Mapping[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in parameters.items())


def _way(application: Application, network: str) -> str:
    """Over the socket, which costs less. A weak password stays on the network: there PostgreSQL sees that it comes from the pooler,
    and whoever else can open the socket gets nowhere with it."""
    return network if application.settings.password_waiver else SOCKET_DIR


def pgbouncer_hba(settings: Settings) -> str:
    """pg_hba.conf of PgBouncer: the first line that fits decides, and where none does it refuses.

    The console of user pgbouncer over the socket needs no line: its uid decides.
    """
    rules = [
        *(("host", "all", "all", proxy, "reject") for proxy in proxied(settings)),
        *(monitor_rules("pgbouncer") if settings.monitoring.enabled else []),
        # PostgreSQL knows, too, whose waiver has gone before the weak password has.
        *waived_rules(settings),
        *application_rules(settings),
        *everybody(settings),
    ]
    return "# Made by Pulumi. Everybody proves a password, from outside over TLS.\n" + hba_lines(rules)


def pgbouncer_ident() -> str:
    """pg_ident.conf of PgBouncer, where monitoring is on."""
    return "# Made by Pulumi.\n" + monitoring.ident_line()


def userlist(*, auth_password: str) -> str:
    """userlist.txt: only the role that looks the others up. In the clear, since a verifier cannot log in to a server."""
    quoted = auth_password.replace('"', '""')
    return f'"{AUTH_ROLE}" "{quoted}"\n'
