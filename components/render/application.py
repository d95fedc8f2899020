"""Text of the files from which an application knows how to connect."""

from dataclasses import dataclass
from urllib.parse import quote as percent

import yaml

from components.application_settings import Application
from components.render.env_file import quote
from components.render.service import NETWORK
from components.settings import Settings

CA_FILE = "platform-ca.crt"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a server is for a client; `tls` where the client has to check its certificate."""

    host: str
    port: int
    tls: bool = False


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """The three servers, seen from one place."""

    pooler: Endpoint
    postgres: Endpoint
    redis: Endpoint


def on_the_network() -> Endpoints:
    """For containers on the bridge network, which stays inside the host."""
    return Endpoints(
        pooler=Endpoint(host="pgbouncer", port=6432),
        postgres=Endpoint(host="postgres-db", port=5432),
        redis=Endpoint(host="redis-cache", port=6379),
    )


def from_outside(settings: Settings) -> Endpoints:
    """For clients outside it. On 127.0.0.1, Redis publishes the port without TLS."""
    address = str(settings.publish_address)
    return Endpoints(
        pooler=Endpoint(host=address, port=settings.pgbouncer.port, tls=True),
        postgres=Endpoint(host=address, port=settings.postgres.port, tls=True),
        redis=Endpoint(host=address, port=settings.redis.port, tls=not settings.publish_address.is_loopback),
    )


def connection_block(
    application: Application, at: Endpoints, *, database_password: str, redis_password: str | None
) -> str:
    """The platform's lines of server.env, or of server.external.env."""
    values = _database(application, at, database_password)
    if redis_password is not None:
        values |= _redis(application, at.redis, redis_password)
    return "".join(f"{name}={quote(value, bare=True)}\n" for name, value in values.items())


def _database(application: Application, at: Endpoints, password: str) -> dict[str, str]:
    # https://www.postgresql.org/docs/17/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    login = f"{_encoded(application.login)}:{_encoded(password)}"
    tls = f"?sslmode=verify-full&sslrootcert={CA_FILE}" if at.pooler.tls else ""

    def url(server: Endpoint) -> str:
        return f"postgresql://{login}@{server.host}:{server.port}/{_encoded(application.database)}{tls}"

    return {
        "DATABASE_URL": url(at.pooler),
        "DATABASE_DIRECT_URL": url(at.postgres),
        "DATABASE_HOST": at.pooler.host,
        "DATABASE_PORT": str(at.pooler.port),
        "DATABASE_DIRECT_HOST": at.postgres.host,
        "DATABASE_DIRECT_PORT": str(at.postgres.port),
        "DATABASE_NAME": application.database,
        "DATABASE_USER": application.login,
        "DATABASE_PASSWORD": password,
    } | ({"DATABASE_SSLMODE": "verify-full", "DATABASE_SSLROOTCERT": CA_FILE} if tls else {})


def _redis(application: Application, server: Endpoint, password: str) -> dict[str, str]:
    scheme = "rediss" if server.tls else "redis"
    return {
        "REDIS_URL": f"{scheme}://{application.name}:{_encoded(password)}@{server.host}:{server.port}/0",
        "REDIS_HOST": server.host,
        "REDIS_PORT": str(server.port),
        "REDIS_USER": application.name,
        "REDIS_PASSWORD": password,
        "REDIS_KEY_PREFIX": application.key_prefix,
    } | ({"REDIS_SSL_CA_CERTS": CA_FILE} if server.tls else {})


def _encoded(part: str) -> str:
    return percent(part, safe="")


def platform_yaml(application: Application) -> str:
    """platform.yaml: what an application's compose service takes over by `extends`."""
    address = application.settings.address
    place = {"aliases": [application.name]} | ({"ipv4_address": str(address)} if address else {})
    text = {
        "services": {"application": {"env_file": ["server.env"], "networks": {NETWORK: place}}},
        "networks": {NETWORK: {"external": True}},
    }
    return (
        "# Made by Pulumi: the application's place on the platform's network, and its connections. In compose.yaml, to a service:\n"
        "#   extends: {file: platform.yaml, service: application}\n"
        f"# and at the end: networks: {{{NETWORK}: {{external: true}}}}\n"
        + yaml.safe_dump(text, sort_keys=False)
    )
