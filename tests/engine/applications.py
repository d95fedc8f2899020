"""Real clients of the applications, which know what their server.env says and no more."""

import ctypes
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from tests.engine.platform import PROJECT, Platform

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
# The words of PostgreSQL and of PgBouncer where pg_hba.conf, and not a password, is in the way.
NOT_LET_IN = r"pg_hba\.conf rejects connection|no pg_hba\.conf entry|login rejected"


@dataclass(frozen=True)
class Place:
    """A container on the platform's network. Clients of this process can connect from its address."""

    platform: Platform
    container: str

    def do(self, work: Callable[[], T]) -> T:
        """Do something in the container's network; sockets that it opens stay there."""
        pid = self.platform.docker("inspect", "--format", "{{.State.Pid}}", self.container)

        def enter() -> None:
            # Of this one thread, which ends with the work.
            with Path(f"/proc/{pid}/ns/net").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "cannot enter the container's network")

        with ThreadPoolExecutor(1, initializer=enter) as thread:
            return thread.submit(work).result()

    def address_of(self, server: str) -> str:
        """The server's address on the network."""
        inspected = self.platform.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", server)
        return json.loads(inspected)[PROJECT]["IPAddress"]


@contextmanager
def place(platform: Platform, address: str | None = None) -> Iterator[Place]:
    """A container that does nothing, with an address of its own or with one that Docker gives it."""
    own = ["--ip", address] if address else []
    image = platform.docker("inspect", "--format", "{{.Image}}", "postgres-db")
    container = platform.docker(
        "run", "--detach", "--rm", "--network", PROJECT, *own, "--entrypoint", "sleep", image, "600"
    )
    try:
        yield Place(platform, container)
    finally:
        platform.docker("rm", "--force", container)


def read_by_sh(path: Path) -> dict[str, str]:
    """The variables of a file that `.` in sh gives."""
    ran = subprocess.run(
        ["env", "-i", f"PATH={os.environ['PATH']}", "sh", "-euc", 'set -a; . "$1"; exec env -0', "sh", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not ran.stderr, ran.stderr
    variables = dict(line.split("=", 1) for line in ran.stdout.split("\0") if line)
    return {name: value for name, value in variables.items() if name not in ("PATH", "PWD", "OLDPWD", "_")}


@dataclass(frozen=True)
class Account:
    """One application as a client."""

    platform: Platform
    name: str
    # Where its clients are; this machine unless said.
    place: Place | None = field(default=None, compare=False)

    @property
    def folder(self) -> Path:
        return self.platform.srv / "apps" / self.name

    @property
    def settings(self) -> dict[str, Any]:
        """As the stack's configuration says it."""
        return self.platform.config["applications"][self.name]

    @property
    def database(self) -> str:
        return self.settings.get("database", self._sql)

    @property
    def login(self) -> str:
        return self.settings.get("user", f"{self._sql}_user")

    @property
    def owner(self) -> str:
        return f"{self._sql}_owner"

    @property
    def groups(self) -> tuple[str, str]:
        """The roles for whoever else reads, or reads and writes."""
        return (f"{self._sql}_readonly", f"{self._sql}_readwrite")

    @property
    def roles(self) -> set[str]:
        return {self.login, self.owner, *self.groups}

    @property
    def _sql(self) -> str:
        return self.name.replace("-", "_")

    def environment(self, file: str = "server.env") -> dict[str, str]:
        """What its server.env says."""
        return read_by_sh(self.folder / file)

    def connect(self, *, pooled: bool = True, **other: Any) -> "psycopg.Connection[Any]":
        """By its URL, whose host's name only the bridge network knows. `other` goes before what the URL says."""
        url = self.environment()["DATABASE_URL" if pooled else "DATABASE_DIRECT_URL"]

        def connect(hostaddr: str) -> "psycopg.Connection[Any]":
            return psycopg.connect(
                url, **{"hostaddr": hostaddr, "connect_timeout": 10, "autocommit": True, **other}
            )

        if not self.place:
            return connect("127.0.0.1")
        address = self.place.address_of("pgbouncer" if pooled else "postgres-db")
        return self.place.do(lambda: connect(address))

    def refused(self, *, pooled: bool, match: str = NOT_LET_IN, **other: Any) -> None:
        """Fails unless its login is refused by these words."""
        with pytest.raises(psycopg.OperationalError, match=match):
            self.connect(pooled=pooled, **other).close()

    def connections(self, state: str | None = None) -> int:
        """How many PostgreSQL has of its login, the pooler's among them; all, or those in a state."""
        wanted = f" AND state = '{state}'" if state else ""
        count = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{self.login}'{wanted}"
        return int(self.platform.psql(count))

    def redis(self, **other: Any) -> "redis.Redis":
        """By its URL. One connection, which is not made again behind our back."""
        return redis.Redis(
            **{
                **parse_url(self.environment()["REDIS_URL"]),
                "host": "127.0.0.1",
                "socket_timeout": 10,
                "single_connection_client": True,
                "retry": Retry(NoBackoff(), 0),
                **other,
            }
        )


@contextmanager
def accounts(platform: Platform) -> Iterator[dict[str, Account]]:
    """Every application of the settings; the one with an address of its own comes from there."""
    settings: dict[str, dict[str, Any]] = platform.config["applications"]
    (address,) = [said["address"] for said in settings.values() if "address" in said]
    with place(platform, address) as own:
        yield {
            name: Account(platform, name, own if "address" in said else None)
            for name, said in settings.items()
        }


def differences(platform: Platform) -> dict[str, str]:
    """What the last refresh found changed by hand, by the resource's name without `platform-`."""
    resources = json.loads(platform.state())["deployment"]["resources"]
    found = {
        resource["urn"].rpartition("::")[2].removeprefix("platform-"): resource.get("outputs", {}).get(
            "differences"
        )
        for resource in resources
    }
    return {name: said for name, said in found.items() if said}
