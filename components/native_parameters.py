"""Further parameters by the names that a service itself knows: which an operator may set, and how a value may look.

A name that is refused says why: the platform lives by it, a setting of the platform's own says it, or the service has no such parameter.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BeforeValidator

from components import native_names


@dataclass(frozen=True, kw_only=True)
class Service:
    """`own` are patterns of names that are the platform's; `settings` names that have a setting of their own, beside the map."""

    title: str
    names: Collection[str] | None
    own: str
    settings: Mapping[str, str]
    words: tuple[str, str]
    # What a value may hold: nothing that ends a line or a quotation, or that begins a comment.
    value: str


POSTGRES = Service(
    title="PostgreSQL 17",
    names=native_names.POSTGRES_AT_START | native_names.POSTGRES_RELOADED,
    own=(
        r"listen_addresses|port|bonjour.*|unix_socket_.*|(hba|ident|external_pid)_file|data_directory|cluster_name|ssl.*|krb_.*|gss_.*|password_encryption|"
        r".*preload_libraries|.*_plugin_libraries|dynamic_library_path|extension_destdir|jit_provider|wal_level|archive_.*|restore_command|recovery_.*|"
        r"primary_.*|hot_standby.*|max_wal_senders|max_replication_slots|summarize_wal|sync_replication_slots|synchroni[sz]ed?_standby_.*|"
        r"synchronous_standby_names|fsync|full_page_writes|data_sync_retry|wal_sync_method|exit_on_error|allow_alter_system|event_source|syslog_.*|"
        r"logging_collector|log_(destination|directory|file.*|rotation.*|truncate.*|timezone|line_prefix|parameter_max_length.*|connections|disconnections|"
        r"lock_waits|checkpoints)|client_connection_check_interval|tcp_keepalives_idle|search_path|session_replication_role|row_security|lo_compat_privileges|"
        r"default_transaction_read_only|event_triggers"
    ),
    settings={
        "max_connections": "maxConnections",
        "timezone": "timezone",
        "statement_timeout": "statementTimeoutSeconds",
        "idle_in_transaction_session_timeout": "idleInTransactionTimeoutSeconds",
        "log_min_duration_statement": "slowQueryMilliseconds",
        "max_slot_wal_keep_size": "slotWalLimit",
    },
    words=("on", "off"),
    value=r"[^\x00-\x1f\x7f]{1,400}",
)
REDIS = Service(
    title="Redis 7",
    names=native_names.REDIS | native_names.REDIS_NEWER,
    own=(
        r"include|user|loadmodule|rename-command|bind.*|port|protected-mode|unixsocket.*|tls-.*|aclfile|acl-.*|requirepass|master.*|replica.*|repl-.*|min-replicas-.*|cluster-.*|enable-.*|dir|"
        r"db?filename|append(only|filename|dirname|fsync)|save|aof-.*|rdb-.*|databases|daemonize|pidfile|supervised|log(file|level)|syslog-.*|"
        r"socket-mark-id|.*-?proc-title.*|.*cpulist|oom-.*|shutdown-.*|sanitize-dump-payload|tcp-keepalive|ignore-warnings|stop-writes-on-bgsave-error"
    ),
    settings={"maxmemory": "maxmemory", "maxmemory-policy": "maxmemoryPolicy"},
    words=("yes", "no"),
    value=r"[A-Za-z0-9 .:%_*-]{1,200}",
)
PGBOUNCER = Service(
    title="PgBouncer",
    names=native_names.PGBOUNCER_AT_START | native_names.PGBOUNCER_RELOADED | native_names.PGBOUNCER_NEWER,
    own=(
        r"auth_.*|.*_tls_.*|admin_users|stats_users|listen_(addr|port)|unix_socket_.*|user|pidfile|logfile|conffile|syslog.*|job_name|resolv_conf|pool_mode|"
        r"so_reuseport|peer_id|ignore_startup_parameters|dns_max_ttl|server_login_retry|query_wait_timeout|max_prepared_statements|server_reset_query.*|"
        r"track_extra_parameters"
    ),
    settings={"default_pool_size": "poolSize", "max_client_conn": "maxClients"},
    words=("1", "0"),
    value=r"[A-Za-z0-9 .:_-]{1,200}",
)
# The kernel's own list depends on its version; what it does not know is refused by sysctl, on the machine.
KERNEL = Service(
    title="the kernel",
    names=None,
    own=r"net\.ipv4\.(ip_forward|tcp_mtu_probing|conf\..*)|net\.bridge\..*|kernel\.(core_pattern|modprobe|hotplug|sysrq|panic.*)|fs\.binfmt_misc\..*",
    settings={},
    words=("1", "0"),
    value=r"[A-Za-z0-9 ._-]{1,200}",
)
_KERNEL_NAME = r"(vm|kernel|net|fs)(\.[a-z0-9_-]+)+"


def _value(service: Service, name: str, said: Any) -> str:
    text = service.words[0 if said else 1] if isinstance(said, bool) else str(said)
    if not isinstance(said, (bool, int, float, str)) or not re.fullmatch(service.value, text):
        raise ValueError(
            f"{name} is {said!r}; write a number, true or false, or one line of plain text without quotes"
        )
    return text


def _check_name(service: Service, name: str) -> None:
    if name in service.settings:
        raise ValueError(
            f"{name} is the platform's setting {service.settings[name]}; write that, outside this map"
        )
    if re.fullmatch(service.own, name):
        raise ValueError(f"{name} is the platform's own, which lives by its value; leave it out")
    if service.names is None:
        if not re.fullmatch(_KERNEL_NAME, name):
            raise ValueError(f"{name!r} is no kernel parameter; write a name such as vm.swappiness")
    elif name not in service.names:
        close = difflib.get_close_matches(name, service.names, n=1)
        hint = f"did you mean {close[0]}?" if close else "write a name that it knows"
        raise ValueError(f"{name!r} is no parameter of {service.title}; {hint}")


def _reader(service: Service) -> Callable[[Any], Any]:
    def read(said: Any) -> Any:
        if not isinstance(said, dict):
            return said
        found = {str(name): value for name, value in cast("dict[Any, Any]", said).items()}
        for name in found:
            _check_name(service, name)
        return {name: _value(service, name, value) for name, value in found.items()}

    return read


PostgresParameters = Annotated[dict[str, str], BeforeValidator(_reader(POSTGRES))]
RedisParameters = Annotated[dict[str, str], BeforeValidator(_reader(REDIS))]
PgbouncerParameters = Annotated[dict[str, str], BeforeValidator(_reader(PGBOUNCER))]
KernelParameters = Annotated[dict[str, str], BeforeValidator(_reader(KERNEL))]
