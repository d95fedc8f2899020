"""The three containers."""

import hashlib

from components.render import pgbouncer, postgres, redis
from components.render.service import SECURITY_OPTIONS, Mount, Service
from components.settings import Settings
from components.tuning import WAL_MEMORY

# A label whose change replaces the container: the part of the configuration that is read only at the start.
START_HASH_LABEL = "central-data-platform.start-hash"
# SELinux lets a container at the sockets of those that have the same categories; Docker gives each its own unless told. Which
# two they are means nothing.
SOCKET_SHARED = "label=level:s0:c271,c828"


def postgres_service(settings: Settings) -> Service:
    """Started as root, as the image's entry point wants it: it steps down to uid 999 by itself."""
    srv = settings.srv_root
    return Service(
        name="postgres-db",
        command=["postgres", "-c", f"config_file={postgres.CONFIG_DIR}/postgresql.conf"],
        # Over TCP: the socket answers already during an initialisation.
        health_test=["CMD", "pg_isready", "-q", "-h", "127.0.0.1", "-U", postgres.ADMIN, "-d", "postgres"],
        health_start_period="5m0s",
        mounts=[
            Mount(source=f"{srv}/data/postgres", target=postgres.DATA),
            Mount(source=f"{srv}/config/postgres", target=postgres.CONFIG_DIR, read_only=True),
            Mount(source=f"{srv}/run/postgresql", target=postgres.SOCKET_DIR),
        ],
        publish=(str(settings.publish_address), settings.postgres.port, 5432),
        memory=settings.postgres.memory,
        shm_size=settings.postgres.shm_size,
        # SIGINT: a fast shutdown. 120 s are for its last checkpoint.
        stop_signal="SIGINT",
        stop_grace_seconds=120,
        capabilities=["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
        labels=_start_hash(postgres.restart_part(settings.postgres)),
        security_options=[*SECURITY_OPTIONS, SOCKET_SHARED],
        # From 18 on the image has another place, in which the major version stands.
        environment=(("PGDATA", postgres.DATA),),
        address=str(settings.network.postgres_address),
    )


def wal_service(settings: Settings) -> Service:
    """The WAL receiver: what PostgreSQL has committed is in srvRoot/backups/wal a moment later."""
    srv = settings.srv_root
    return Service(
        name="postgres-wal",
        entrypoint=["pg_receivewal"],
        command=[
            "--directory=/wal",
            f"--slot={postgres.WAL_SLOT}",
            # Without --synchronous: each commit would wait for two flushes of one disk. PostgreSQL forgets nothing before it is
            # flushed here all the same, which is when a segment is whole (docs/decisions/0018).
            "--no-password",
            f"--dbname=host={postgres.SOCKET_DIR} user={postgres.BACKUP_ROLE} application_name=postgres-wal",
        ],
        # It is connected. A client that asks PostgreSQL would fill its log.
        health_test=["CMD-SHELL", "ls -l /proc/1/fd | grep -q socket:"],
        health_start_period="1m0s",
        mounts=[
            Mount(source=f"{srv}/backups/wal", target="/wal"),
            Mount(source=f"{srv}/run/postgresql", target=postgres.SOCKET_DIR),
        ],
        memory=WAL_MEMORY,
        stop_signal="SIGINT",
        stop_grace_seconds=30,
        user="999:999",
        # SELinux lets no container with a label of its own at another's socket.
        security_options=[*SECURITY_OPTIONS, "label=disable"],
        after=["postgres-db"],
    )


def redis_service(settings: Settings) -> Service:
    """Runs as its own user (uid 999 of the image) from the start."""
    srv = settings.srv_root
    return Service(
        name="redis-cache",
        command=["redis-server", f"{redis.CONFIG_DIR}/redis.conf"],
        # User `health` may do nothing but PING, so its password is no secret.
        health_test=[
            "CMD-SHELL",
            "redis-cli --no-auth-warning --user health --pass health ping | grep -qx PONG",
        ],
        health_start_period="5m0s",
        mounts=[
            Mount(source=f"{srv}/data/redis", target="/data"),
            Mount(source=f"{srv}/config/redis", target=redis.CONFIG_DIR, read_only=True),
        ],
        publish=(
            str(settings.publish_address),
            settings.redis.port,
            # Redis does not tell clients apart by their addresses, so from outside there is no way but the one over TLS.
            redis.PORT if settings.publish_address.is_loopback else redis.TLS_PORT,
        ),
        memory=settings.redis.memory,
        stop_signal="SIGTERM",
        stop_grace_seconds=60,
        user="999:999",
        labels=_start_hash(redis.redis_conf(settings.redis)),
        address=str(settings.network.redis_address),
    )


def pgbouncer_service(settings: Settings) -> Service:
    """Started past the image's entry point, which would rewrite our files."""
    srv = settings.srv_root
    return Service(
        name="pgbouncer",
        entrypoint=["/usr/bin/pgbouncer"],
        command=[f"{pgbouncer.CONFIG_DIR}/pgbouncer.ini"],
        # The manual's check; the image has no nc, and there bash opens the port.
        health_test=[
            "CMD-SHELL",
            "if command -v nc >/dev/null; then nc -z localhost 6432; else bash -c 'exec 3<>/dev/tcp/127.0.0.1/6432'; fi",
        ],
        health_start_period="1m0s",
        mounts=[
            Mount(source=f"{srv}/config/pgbouncer", target=pgbouncer.CONFIG_DIR, read_only=True),
            Mount(source=f"{srv}/run/pgbouncer", target="/var/run/pgbouncer"),
            # To connect to a socket is not to write to the file system (docs/decisions/0020).
            Mount(source=f"{srv}/run/postgresql", target=postgres.SOCKET_DIR, read_only=True),
        ],
        publish=(str(settings.publish_address), settings.pgbouncer.port, 6432),
        memory=settings.pgbouncer.memory,
        # SIGINT: no new queries, those that run may end.
        stop_signal="SIGINT",
        stop_grace_seconds=30,
        user="1001:1001",
        labels=_start_hash(pgbouncer.restart_part(settings.pgbouncer)),
        security_options=[*SECURITY_OPTIONS, SOCKET_SHARED],
        after=["postgres-db"],
        # PostgreSQL lets some roles in through the pooler and from one more address only.
        address=str(settings.network.pooler_address),
    )


def _start_hash(text: str) -> tuple[tuple[str, str], ...]:
    return ((START_HASH_LABEL, hashlib.sha256(text.encode()).hexdigest()[:16]),)
