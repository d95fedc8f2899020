"""Starts the library: migrations, then requests until SIGTERM."""

import logging
import signal
import sys
import threading

import psycopg

from .api import Api
from .cache import Cache
from .database import Database
from .library import Library
from .migrations import migrate
from .server import Server
from .server_env import ServerEnvError, read

PORT = 8080


def main() -> int:
    """The exit code. Where it cannot start, Docker starts it again."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        ran = migrate(read().database_direct_url)
    except (ServerEnvError, psycopg.Error) as error:
        logging.error("cannot start: %s", error)
        return 1
    logging.info("%s migrations have run", ran)
    database = Database(read)
    server = Server(("0.0.0.0", PORT), Api(Library(database, Cache(read))))  # noqa: S104 - compose.yaml publishes it
    # From another thread: `shutdown` waits for the loop that this signal has interrupted.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        server.serve_forever()
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
