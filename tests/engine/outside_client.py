"""A client of the platform, as a program of its own: it can then be started in another network namespace.

Standard input is JSON: a list of {kind, arguments}. It connects to each, asks something until the file `until` is there (once
without one), prints whether each connection is encrypted, and ends with the fault's own words where one is refused.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def _postgres(arguments: dict[str, Any]) -> tuple[bool, Callable[[], object]]:
    connection = psycopg.connect(**arguments, connect_timeout=10, autocommit=True)
    return connection.pgconn.ssl_in_use, lambda: connection.execute("SELECT 1").fetchone()


def _redis(arguments: dict[str, Any]) -> tuple[bool, Callable[[], object]]:
    # One connection, which is not made again behind our back.
    never = Retry(NoBackoff(), 0)
    client = redis.Redis(**arguments, socket_timeout=10, single_connection_client=True, retry=never)
    client.ping()
    return isinstance(client.connection, redis.SSLConnection), client.ping


def main() -> None:
    """Exits with a fault's words."""
    asked = json.load(sys.stdin)
    kinds = {"postgres": _postgres, "redis": _redis}
    try:
        made = [kinds[each["kind"]](each["arguments"]) for each in asked["connections"]]
        print(json.dumps([encrypted for encrypted, _ in made]), flush=True)
        while asked["until"] and not Path(asked["until"]).exists():
            for _, ask in made:
                ask()
            time.sleep(0.05)
    except (psycopg.Error, redis.RedisError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
