"""PostgreSQL as the program sets it up beside a container of the same image with the settings that initdb writes.

Both have the same memory, shared memory, processors and disk; both wait for the disk at each commit (fsync, synchronous_commit and
full_page_writes are on, which is asserted). Ours also pays for what the other has not: data checksums, pg_stat_statements, a WAL
receiver. Clients run in the server's container and come over its socket, so that nothing but the server differs.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.containers import beside, image_of
from tests.bench.figures import Figure
from tests.engine.platform import Platform
from tests.waiting import until

GROUP = "tuned"
DEFAULTS = "bench-postgres"
DATABASE = "bench_tuned"
GOAL = 1.3
# MiB of either container, and the machine that has it: one on which one would look at the settings at all.
MEMORY = 4096
MACHINE = {"cpus": 2, "memoryGib": 8, "diskGib": 200}
# In 100,000 rows: some 750 MB, several times the shared_buffers of the defaults.
SCALE, CLIENTS = 50, 20
# Long enough for the defaults' checkpoints: their cost is a part of what the settings are about.
SECONDS = 90

# Half a million customers' orders and their lines.
TABLES = """
SELECT setseed(0.5);
CREATE TABLE customers AS SELECT id, id % 40 AS region, md5(id::text) AS name FROM generate_series(1, 100000) AS id;
CREATE TABLE orders AS SELECT id, 1 + (random() * 99999)::int AS customer, date '2024-01-01' + (random() * 900)::int AS day
  FROM generate_series(1, 1000000) AS id;
CREATE TABLE lines AS SELECT 1 + (random() * 999999)::int AS "order", (random() * 5000)::int AS product, (random() * 9)::int AS quantity,
  (random() * 10000)::int AS cents FROM generate_series(1, 3000000);
ALTER TABLE customers ADD PRIMARY KEY (id);
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX ON lines ("order");
"""
# A join with aggregates, a sort of all rows, distinct values by group, and a look by an index.
QUERY = """
SELECT region, date_trunc('month', day) AS month, count(*), sum(quantity * cents), avg(cents)
  FROM lines JOIN orders ON orders.id = lines."order" JOIN customers ON customers.id = orders.customer GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM (SELECT customer, sum(cents) OVER (PARTITION BY customer ORDER BY day, orders.id) AS so_far
  FROM lines JOIN orders ON orders.id = lines."order") AS each WHERE so_far > 100000;
SELECT product, count(DISTINCT "order") FROM lines GROUP BY product ORDER BY 2 DESC LIMIT 20;
SELECT sum(cents) FROM orders JOIN lines ON lines."order" = orders.id WHERE customer BETWEEN 500 AND 600;
"""


@dataclass(frozen=True)
class Server:
    """One of the two, by its container; `admin` comes over the socket without a password."""

    name: str
    container: str
    admin: str

    def run(self, platform: Platform, program: str, *words: str, stdin: str | None = None) -> str:
        """One of PostgreSQL's programs in its container."""
        return platform.docker(
            "exec", "--interactive", self.container, program, "-U", self.admin, *words, stdin=stdin
        )

    def ask(self, platform: Platform, sql: str, database: str = "postgres") -> str:
        """SQL from standard input, statement by statement."""
        words = ("-XqtA", "--set=ON_ERROR_STOP=1", "-d", database, "--file=-")
        return self.run(platform, "psql", *words, stdin=sql)


def measure(platform: Platform, *, rounds: int) -> list[Figure]:
    """Transactions a second of pgbench's read-write mix, and seconds of the analytic queries."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    sized = platform.config["postgres"] | {"memory": MEMORY}
    machine = platform.config["host"] | MACHINE
    with platform.changed(postgres=sized, host=machine), _servers(platform) as servers:
        for server in servers:
            _fill(platform, server)
        for _ in range(rounds):
            for server in servers:
                found["read-write", server.name].append(_read_write(platform, server))
            for server in servers:
                found["analytic", server.name].append(_analytic(platform, server))
    return list(_figures(found, servers))


@contextmanager
def _servers(platform: Platform) -> Iterator[list[Server]]:
    platform.up()
    size = "{{.HostConfig.Memory}} {{.HostConfig.ShmSize}}"
    memory, shared = platform.docker("inspect", "--format", size, "postgres-db").split()
    data = platform.folder / DEFAULTS
    options = (
        *("--env=POSTGRES_HOST_AUTH_METHOD=trust", "--env=PGDATA=/data/pg", f"--volume={data}:/data"),
        *(f"--memory={memory}", f"--memory-swap={memory}", f"--shm-size={shared}", "--stop-signal=SIGINT"),
    )
    ours = Server("ours", "postgres-db", "platform_admin")
    theirs = Server("the image's defaults", DEFAULTS, "postgres")
    with beside(platform, DEFAULTS, image_of(platform, "postgres-db"), options):
        ready = ["docker", "exec", DEFAULTS, "pg_isready", "--quiet", "--host=127.0.0.1"]
        until(
            lambda: platform.run(ready, check=False).returncode == 0, seconds=120, what="PostgreSQL is made"
        )
        try:
            yield [theirs, ours]
        finally:
            ours.ask(platform, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def _fill(platform: Platform, server: Server) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert server.ask(platform, f"SHOW {setting}") == "on", f"{server.name} has no {setting}"
    server.ask(platform, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE); CREATE DATABASE {DATABASE};")
    server.run(platform, "pgbench", "--initialize", "--quiet", f"--scale={SCALE}", DATABASE)
    server.ask(platform, TABLES, DATABASE)
    server.ask(platform, "VACUUM ANALYZE", DATABASE)
    # Once, unmeasured.
    server.ask(platform, QUERY, DATABASE)


def _read_write(platform: Platform, server: Server) -> float:
    server.ask(platform, "CHECKPOINT")
    said = server.run(
        platform,
        "pgbench",
        *("--no-vacuum", f"--client={CLIENTS}", "--jobs=2", f"--time={SECONDS}", DATABASE),
    )
    found = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    assert found, said
    return float(found.group(1))


def _analytic(platform: Platform, server: Server) -> float:
    # What pgbench has left to be written is not this query's.
    server.ask(platform, "CHECKPOINT")
    began = time.monotonic()
    server.ask(platform, QUERY, DATABASE)
    return time.monotonic() - began


def _figures(found: dict[tuple[str, str], list[float]], servers: list[Server]) -> Iterator[Figure]:
    theirs, ours = servers
    for server in (theirs, ours):
        beside_it = server is ours
        yield Figure(
            group=GROUP,
            row=f"read-write, {CLIENTS} clients, {server.name}",
            unit="transactions/s",
            values=tuple(found["read-write", server.name]),
            beside=f"read-write, {CLIENTS} clients, {theirs.name}" if beside_it else None,
            goal=GOAL if beside_it else None,
        )
        yield Figure(
            group=GROUP,
            row=f"mixed analytic query, {server.name}",
            unit="s",
            values=tuple(found["analytic", server.name]),
            better="less",
            beside=f"mixed analytic query, {theirs.name}" if beside_it else None,
            goal=1 / GOAL if beside_it else None,
        )
