"""Transactions in PostgreSQL, by way of the platform's pooler."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from .server_env import Connections

T = TypeVar("T")
Connection = psycopg.Connection[Any]
MOST_CONNECTIONS = 8
PATIENCE_SECONDS = 5
PAUSE_SECONDS = 0.2


class _NotDoneError(Exception):
    """Nothing has happened: no connection was to be had, or it failed before the end of the transaction."""

    def __init__(self, reason: psycopg.OperationalError) -> None:
        super().__init__()
        self.reason = reason


class Database:
    """A few open connections, used one after the other. `read` reads server.env, anew for each new connection."""

    def __init__(self, read: Callable[[], Connections]) -> None:
        self._read = read
        self._turns = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once it is committed. `work` may run more than once and so does nothing outside the transaction.

        What is not done is tried again for some seconds, by what server.env says then. Neither of these is an error yet: a
        password that changed after it was read; an open connection for which the pooler has an old password; the two seconds
        after such a one in which the pooler turns everybody away; a server that starts anew.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        with self._turns:
            while True:
                try:
                    return self._run(self._idle_or_new(), work)
                except _NotDoneError as failed:
                    self.close()
                    if time.monotonic() > end:
                        raise failed.reason from None
                time.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        """Close what is idle."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _idle_or_new(self) -> Connection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        try:
            return _open(self._read().database_url)
        except psycopg.OperationalError as error:
            raise _NotDoneError(error) from None

    def _run(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        try:
            try:
                result = work(connection)
            except psycopg.OperationalError as error:
                connection.close()
                raise _NotDoneError(error) from None
            except BaseException:
                connection.rollback()
                raise
            # When this fails nobody knows whether it is done: it is not tried again.
            connection.commit()
            return result
        finally:
            if not connection.closed:
                self._idle.put(connection)


def _open(url: str) -> Connection:
    # Behind a pooler the next transaction may be on another server connection, which knows no prepared statement of ours.
    return psycopg.connect(url, connect_timeout=3, prepare_threshold=None)
