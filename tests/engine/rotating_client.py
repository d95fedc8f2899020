"""Clients of one application that go on while its passwords change; each counts what it was promised and keeps what it was told."""

import re
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

# Of a connection string: nothing in it is quoted or escaped for sh.
LINE = re.compile(r"^(\w+_URL)='?([^'\n]*)'?$", re.MULTILINE)
FAULTS = (psycopg.Error, redis.RedisError)
# Between two transactions: many clients share two processors with the `up` that they watch.
PAUSE_SECONDS = 0.1


def read_urls(file: Path) -> dict[str, str]:
    """The connection strings of a server.env, as of now."""
    return dict(LINE.findall(file.read_text()))


@dataclass(frozen=True)
class Store:
    """Where a client's promises are kept: through the pooler, past it, or in Redis."""

    key: str

    def connect(self, urls: dict[str, str]) -> Any:
        """One connection, which nobody makes again behind our back."""
        if self.key == "REDIS_URL":
            client = redis.Redis(
                **{**parse_url(urls[self.key]), "host": "127.0.0.1", "socket_timeout": 20},
                single_connection_client=True,
                retry=Retry(NoBackoff(), 0),
            )
            client.ping()
            return client
        return psycopg.connect(urls[self.key], hostaddr="127.0.0.1", connect_timeout=20)

    def promise(self, connection: Any, client: str, number: int) -> None:
        """One transaction; it is done when this returns."""
        if self.key == "REDIS_URL":
            connection.rpush(f"librarian:promised:{client}", number)
            return
        connection.execute("INSERT INTO promised (client, number) VALUES (%s, %s)", (client, number))
        connection.commit()

    def identity(self, connection: Any) -> object:
        """What stays the same as long as the server has not dropped us; the pooler gives a backend for each transaction."""
        if self.key == "REDIS_URL":
            return connection.client_id()
        if self.key == "DATABASE_DIRECT_URL":
            return connection.execute("SELECT pg_backend_pid()").fetchone()
        return connection.info.backend_pid


class Client:
    """`run` goes on until told to stop."""

    def __init__(self, name: str, store: Store, file: Path) -> None:
        self.name = name
        self.store = store
        self.file = file
        self.promised = 0
        # When, and what it was told.
        self.failures: list[tuple[float, str]] = []

    def run(self, stop: threading.Event) -> None:
        """Until then."""
        raise NotImplementedError

    def _promise(self, connection: Any) -> None:
        self.store.promise(connection, self.name, self.promised + 1)
        self.promised += 1

    def _failed(self, error: Exception) -> None:
        self.failures.append((time.time(), _words(error)))


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


class Holder(Client):
    """Connects once and keeps the connection; the first failure is its last."""

    def run(self, stop: threading.Event) -> None:
        try:
            with closing(self.store.connect(read_urls(self.file))) as connection:
                mine = self.store.identity(connection)
                while not stop.wait(PAUSE_SECONDS):
                    self._promise(connection)
                assert self.store.identity(connection) == mine
        except FAULTS as error:
            self._failed(error)


class Reader(Client):
    """Connects anew all the time, by what server.env says at the moment; refused, it reads it once more.

    What fails although it was read again, or after the connection was made, is a failure.
    """

    def __init__(self, name: str, store: Store, file: Path) -> None:
        super().__init__(name, store, file)
        self.refused: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(PAUSE_SECONDS):
            try:
                with closing(self._connected()) as connection:
                    self._promise(connection)
            except FAULTS as error:
                self._failed(error)

    def _connected(self) -> Any:
        try:
            return self.store.connect(read_urls(self.file))
        except FAULTS as error:
            self.refused[_words(error)] += 1
            return self.store.connect(read_urls(self.file))


class Stubborn(Client):
    """Connects anew all the time, always by what server.env said in the beginning."""

    def run(self, stop: threading.Event) -> None:
        urls = read_urls(self.file)
        while not stop.wait(PAUSE_SECONDS):
            try:
                with closing(self.store.connect(urls)) as connection:
                    self._promise(connection)
            except FAULTS as error:
                self._failed(error)


class Load:
    """Clients in threads, from `with` to its end."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self._stop = threading.Event()
        self._faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in clients]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert not self._faults, self._faults

    def _run(self, client: Client) -> None:
        try:
            client.run(self._stop)
        except BaseException as fault:  # it would end with its thread, and nobody would hear of it
            self._faults.append(fault)
