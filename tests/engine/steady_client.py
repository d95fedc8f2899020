"""Clients that keep one connection and work on it without a break while something under it is replaced."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import redis

from tests.engine.platform import Platform

# Where an application of the tests keeps what they promise.
DATABASE = "librarian"
TABLE = "steady"
# Between two promises: clients share two processors with the `up` that they watch.
PAUSE_SECONDS = 0.02


class Steady(threading.Thread):
    """Promise after promise, numbered from 0 to `done`; `longest` are the seconds that one has taken.

    One whose connection is lost connects again until it is served; `errors` is what it was told each time.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._end = threading.Event()
        self.done = 0
        self.longest = 0.0
        self.errors: list[str] = []

    def connect(self) -> Any:
        """One connection, with a `close`."""
        raise NotImplementedError

    def promise(self, connection: Any) -> None:
        """It is kept when this returns."""
        raise NotImplementedError

    def run(self) -> None:
        """Until `stop`."""
        connection: Any = None
        began = time.monotonic()
        while not self._end.is_set():
            try:
                if connection is None:
                    connection = self.connect()
                self.promise(connection)
                self.done += 1
                self.longest = max(self.longest, time.monotonic() - began)
                time.sleep(PAUSE_SECONDS)
                began = time.monotonic()
            except (psycopg.Error, redis.RedisError) as error:
                self.errors.append(str(error))
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.1)

    def stop(self) -> None:
        """After the promise under way."""
        self._end.set()
        self.join(timeout=60)
        assert not self.is_alive(), f"{self.name} hangs"


class SteadySql(Steady):
    """An application's: two statements a transaction, in which the server must stay the same."""

    def __init__(self, name: str, platform: Platform, *, pooled: bool = True) -> None:
        super().__init__(name)
        self._platform, self._pooled = platform, pooled

    def connect(self) -> "psycopg.Connection[Any]":
        return self._platform.connect(
            user="librarian_user",
            password=self._platform.application_secrets["librarian"]["database"],
            database=DATABASE,
            pooled=self._pooled,
        )

    def promise(self, connection: "psycopg.Connection[Any]") -> None:
        with connection.transaction():
            connection.execute(f"INSERT INTO {TABLE} VALUES (%s, %s)", (self.name, self.done))
            connection.execute(f"SELECT count(*) FROM {TABLE} WHERE client = %s", (self.name,))

    def kept(self) -> int:
        """How many of its promises the table has."""
        sql = f"SELECT count(DISTINCT number) FROM {TABLE} WHERE client = '{self.name}'"
        return int(self._platform.psql(sql, database=DATABASE))


class SteadyRedis(Steady):
    """One number at the end of a list."""

    def __init__(self, name: str, platform: Platform) -> None:
        super().__init__(name)
        self._platform = platform

    def connect(self) -> "redis.Redis":
        return self._platform.redis()

    def promise(self, connection: "redis.Redis") -> None:
        connection.rpush(self.name, self.done)

    def kept(self) -> int:
        """How many of its promises Redis has."""
        return len(set(self._platform.redis().lrange(self.name, 0, -1)))  # type: ignore[arg-type]


@contextmanager
def working(clients: Sequence[Steady]) -> Iterator[None]:
    """All of them at work, before and after what is done meanwhile."""
    for client in clients:
        client.start()
    try:
        _all_get_on(clients)
        yield
        _all_get_on(clients)
    finally:
        for client in clients:
            client.stop()


def _all_get_on(clients: Sequence[Steady]) -> None:
    goals = [(client, client.done + 5) for client in clients]
    end = time.monotonic() + 40
    while waiting := [client.name for client, goal in goals if client.done < goal]:
        assert time.monotonic() < end, f"not served any more: {waiting}"
        time.sleep(0.1)


def longest(clients: Sequence[Steady]) -> float:
    """The seconds that the slowest promise of all has taken."""
    return max(client.longest for client in clients)


def errors(clients: Sequence[Steady]) -> list[str]:
    """What all of them were told."""
    return [error for client in clients for error in client.errors]
