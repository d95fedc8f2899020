"""Books in Redis, and how often each was asked for. The library works without: a book is then read from PostgreSQL."""

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .server_env import Connections, ServerEnvError

T = TypeVar("T")
KEEP_SECONDS = 300
_TIMEOUT_SECONDS = 2


class _ServerEnv(redis.CredentialProvider):
    """User and password for each new connection, from server.env as it is then."""

    def __init__(self, read: Callable[[], Connections]) -> None:
        self._read = read

    def get_credentials(self) -> tuple[str, str]:
        now = self._read()
        return now.redis_user, now.redis_password


class Cache:
    """`read` reads server.env. Keys begin with the prefix that the platform has given to the application."""

    def __init__(self, read: Callable[[], Connections]) -> None:
        first = read()
        self._prefix = first.redis_key_prefix
        self._redis = redis.Redis(
            host=first.redis_host,
            port=first.redis_port,
            credential_provider=_ServerEnv(read),
            decode_responses=True,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            # An open connection may have died, which the next one finds out.
            retry=Retry(NoBackoff(), 1),
        )

    def book(self, number: int) -> dict[str, Any] | None:
        """A book, if it is there."""
        found = self._unless_down(lambda: self._redis.get(self._key("book", number)))
        return json.loads(found) if found else None

    def keep(self, book: dict[str, Any]) -> None:
        """Have a book there for a while. Books do not change."""
        key = self._key("book", book["id"])
        self._unless_down(lambda: self._redis.set(key, json.dumps(book), ex=KEEP_SECONDS))

    def count_view(self, number: int) -> int | None:
        """How often a book has been asked for, this time included; None where nobody knows."""
        return self._unless_down(lambda: self._redis.incr(self._key("views", number)))

    def ping(self) -> None:
        """Raises RedisError where Redis does not answer us."""
        self._ask(self._redis.ping)

    def _key(self, kind: str, number: int) -> str:
        return f"{self._prefix}{kind}:{number}"

    def _unless_down(self, ask: Callable[[], Any]) -> Any:
        try:
            return self._ask(ask)
        except (redis.RedisError, ServerEnvError) as error:
            logging.warning("Redis: %s", error)
            return None

    def _ask(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except redis.AuthenticationError:
            # The password changed between reading and using it.
            return ask()
