"""The containers of monitoring. Only the store and Grafana have a port on the host, on 127.0.0.1."""

from collections.abc import Sequence

from components.render import monitoring as text
from components.render.service import SECURITY_OPTIONS, Mount, Service
from components.render.services import START_HASH_LABEL
from components.settings import Settings

LOOPBACK = "127.0.0.1"
NOBODY, REDIS_EXPORTER_USER, GRAFANA_USER = "65534:65534", "59000:59000", "472:472"
# Of the host's own it sees what every container sees: processors, memory and disks are not divided among containers. What is
# (file systems, what systemd runs) comes from metrics.sh, so that no folder of the host is mounted.
HOST_COLLECTORS = ("cpu", "diskstats", "loadavg", "meminfo", "pressure", "stat", "textfile", "time", "vmstat")
# Those that ask more than the ones that are on by themselves.
POSTGRES_COLLECTORS = ("database_wraparound", "stat_checkpointer", "stat_statements")


def monitoring_services(settings: Settings) -> list[Service]:
    """In the order in which they start; none where monitoring is off."""
    if not settings.monitoring.enabled:
        return []
    exporters = [
        node_exporter(settings),
        postgres_exporter(settings),
        pgbouncer_exporter(settings),
        redis_exporter(settings),
    ]
    grafana = [grafana_service(settings)] if settings.monitoring.grafana else []
    return [*exporters, prometheus_service(settings), *grafana]


def node_exporter(settings: Settings) -> Service:
    """The host's processors, memory and disks, and what metrics.sh has found out about the platform."""
    return _exporter(
        settings,
        "node-exporter",
        [
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in HOST_COLLECTORS),
            f"--collector.textfile.directory={text.TEXTFILES}",
        ],
        [Mount(source=f"{settings.srv_root}/run/metrics", target=text.TEXTFILES, read_only=True)],
    )


def postgres_exporter(settings: Settings) -> Service:
    """Over PostgreSQL's socket, as a role without a password."""
    socket = "/var/run/postgresql"
    return _exporter(
        settings,
        "postgres-exporter",
        [f"--collector.{name}" for name in POSTGRES_COLLECTORS],
        [Mount(source=f"{settings.srv_root}/run/postgresql", target=socket)],
        # SELinux lets no container with a label of its own at another's socket.
        security_options=[*SECURITY_OPTIONS, "label=disable"],
        environment=(
            (
                "DATA_SOURCE_NAME",
                f"host={socket} user={text.ROLE} dbname=postgres sslmode=disable application_name=postgres-exporter",
            ),
        ),
        after=["postgres-db"],
    )


def pgbouncer_exporter(settings: Settings) -> Service:
    """Over PgBouncer's socket, as a user who may read its statistics."""
    socket = "/var/run/pgbouncer"
    return _exporter(
        settings,
        "pgbouncer-exporter",
        [
            f"--pgBouncer.connectionString=host={socket} port=6432 user={text.ROLE} dbname=pgbouncer sslmode=disable"
        ],
        [Mount(source=f"{settings.srv_root}/run/pgbouncer", target=socket)],
        security_options=[*SECURITY_OPTIONS, "label=disable"],
        after=["pgbouncer"],
    )


def redis_exporter(settings: Settings) -> Service:
    """As a user who may read counters, with a password in a file."""
    folder = f"{settings.srv_root}/config/monitoring/redis-exporter"
    return _exporter(
        settings,
        "redis-exporter",
        [
            f"--redis.addr=redis://{text.REDIS_ADDRESS}",
            f"--redis.user={text.REDIS_USER}",
            f"--redis.password-file={text.REDIS_DIR}/passwords.json",
            # It would ask for more than that user may do.
            "--config-command=-",
            "--set-client-name=false",
            # Less than the store waits for it: a server that is away is told as that, and not as an exporter that is.
            "--connection-timeout=2s",
        ],
        [Mount(source=folder, target=text.REDIS_DIR, read_only=True)],
        user=REDIS_EXPORTER_USER,
        after=["redis-cache"],
    )


def prometheus_service(settings: Settings) -> Service:
    """The store: it asks the exporters, keeps what they say, and knows the rules."""
    monitoring, srv = settings.monitoring, settings.srv_root
    return Service(
        name="prometheus",
        command=[
            f"--config.file={text.PROMETHEUS_DIR}/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            f"--storage.tsdb.retention.time={monitoring.retention_days}d",
            f"--storage.tsdb.retention.size={monitoring.retention_size}MB",
        ],
        health_test=_answers(text.STORE_PORT, "/-/ready"),
        # It reads its own log of writes again.
        health_start_period="5m0s",
        mounts=[
            Mount(source=f"{srv}/config/monitoring/prometheus", target=text.PROMETHEUS_DIR, read_only=True),
            Mount(source=f"{srv}/data/prometheus", target="/prometheus"),
        ],
        publish=(LOOPBACK, monitoring.prometheus_port, text.STORE_PORT),
        memory=monitoring.prometheus_memory,
        stop_signal="SIGTERM",
        stop_grace_seconds=60,
        user=NOBODY,
        labels=((START_HASH_LABEL, text.digest(text.store_files(monitoring))),),
    )


def grafana_service(settings: Settings) -> Service:
    """Started past the image's entry point, which takes settings out of its environment."""
    folder = f"{settings.srv_root}/config/monitoring"
    return Service(
        name="grafana",
        entrypoint=["grafana"],
        command=[
            "server",
            "--homepath=/usr/share/grafana",
            f"--config={text.GRAFANA_DIR}/grafana.ini",
            "cfg:default.paths.data=/var/lib/grafana",
            f"cfg:default.paths.provisioning={text.GRAFANA_DIR}/provisioning",
        ],
        health_test=_answers(text.GRAFANA_PORT, "/api/health"),
        health_start_period="5m0s",
        mounts=[
            Mount(source=f"{folder}/grafana", target=text.GRAFANA_DIR, read_only=True),
            Mount(source=f"{folder}/grafana-secrets", target=text.GRAFANA_SECRETS, read_only=True),
        ],
        publish=(LOOPBACK, settings.monitoring.grafana_port, text.GRAFANA_PORT),
        memory=settings.monitoring.grafana_memory,
        stop_signal="SIGTERM",
        stop_grace_seconds=30,
        user=GRAFANA_USER,
        labels=((START_HASH_LABEL, text.digest(text.grafana_files(settings.monitoring))),),
        after=["prometheus"],
    )


def _exporter(
    settings: Settings,
    name: str,
    command: Sequence[str],
    mounts: Sequence[Mount],
    *,
    user: str = NOBODY,
    security_options: Sequence[str] = SECURITY_OPTIONS,
    environment: tuple[tuple[str, str], ...] = (),
    after: Sequence[str] = (),
) -> Service:
    return Service(
        name=name,
        command=list(command),
        # That it answers; whether it reaches its server is a rule's matter, and no reason to call the exporter ill.
        health_test=_answers(text.EXPORTER_PORTS[name], "/"),
        health_start_period="1m0s",
        mounts=mounts,
        memory=settings.monitoring.exporter_memory,
        stop_signal="SIGTERM",
        stop_grace_seconds=10,
        user=user,
        security_options=security_options,
        environment=environment,
        after=after,
    )


def _answers(port: int, path: str) -> list[str]:
    return ["CMD", "wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{port}{path}"]
