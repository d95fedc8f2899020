"""What clients get through PgBouncer, beside what PostgreSQL gives them directly and what a PgBouncer nobody has set up does.

pgbench runs in a container on the bridge network, where applications are, and comes to all three by their addresses there (their
names would add Docker's name server to each new connection), with a password and without TLS, which the untouched PgBouncer lacks.
On the one machine the client takes processor time from the servers: so that is counted too, per transaction.
"""

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.containers import beside, cpu_seconds, image_of
from tests.bench.figures import Figure
from tests.engine.platform import Platform, canary

GROUP = "pooling"
APPLICATION, DATABASE, LOGIN = "bench", "bench", "bench_user"
# Rows of pgbench_accounts in 100,000: no fewer branches than clients that write, or they only wait for each other.
SCALE = 20
CLIENTS = (1, 20, 100, 500)
SECONDS = 3
# Beyond a run's own time. A pooler that gives a client a connection for good has the others wait for minutes.
PATIENCE_SECONDS = 30
# With which timeout(1) ends then.
TIMED_OUT = 124
KINDS = {
    "select, simple": ("--select-only",),
    "select, prepared": ("--select-only", "--protocol=prepared"),
    "read-write": (),
    "select, a connection each": ("--select-only", "--connect"),
}
# Least ratio to a direct connection, at GOALS_AT clients.
GOALS = {
    "select, simple": 0.85,
    "select, prepared": 0.80,
    "read-write": 0.85,
    "select, a connection each": 8.0,
}
GOALS_AT = 20
CLIENT = "bench-pgbench"
UNTOUCHED = "bench-pgbouncer"


@dataclass(frozen=True)
class Way:
    """One way to PostgreSQL; `containers` are the servers on it."""

    name: str
    address: str
    port: int
    containers: tuple[str, ...]


@dataclass(frozen=True)
class Ran:
    """One run of pgbench: transactions a second, and microseconds of processor time per transaction by container."""

    rate: float
    cpu: dict[str, float]


def measure(platform: Platform, *, rounds: int) -> list[Figure]:
    """Rates of every kind, way and number of clients; at GOALS_AT clients also the processor time of a transaction."""
    found: dict[tuple[str, int, str], list[Ran | None]] = defaultdict(list)
    with _served(platform), _ways(platform) as ways:
        for _ in range(rounds):
            for kind in KINDS:
                for clients in CLIENTS:
                    for way in ways:
                        found[kind, clients, way.name].append(_pgbench(platform, way, kind, clients))
    return [
        figure for kind in KINDS for clients in CLIENTS for figure in _figures(found, kind, clients, ways)
    ]


@contextmanager
def _served(platform: Platform) -> Iterator[None]:
    """With an application of the bench's own, which may have enough direct connections."""
    applications = platform.config["applications"] | {APPLICATION: {"directConnections": 110}}
    # A hundred direct clients are as many server processes.
    postgres = platform.config["postgres"] | {"memory": 2048, "maxConnections": 200}
    platform.application_secrets.setdefault(APPLICATION, {"database": canary()})
    with platform.changed(applications=applications, postgres=postgres):
        platform.up()
        yield


@contextmanager
def _ways(platform: Platform) -> Iterator[list[Way]]:
    password = platform.application_secrets[APPLICATION]["database"]
    folder = platform.folder / UNTOUCHED
    folder.mkdir(exist_ok=True)
    _write(folder / "pgbouncer.ini", _UNTOUCHED_INI)
    _write(folder / "userlist.txt", f'"{LOGIN}" "{password}"\n')
    with ExitStack() as stack:
        stack.enter_context(
            beside(
                platform,
                CLIENT,
                image_of(platform, "postgres-db"),
                ("--env=PGPASSFILE=/tmp/pgpass", "--env=PGSSLMODE=disable", "--entrypoint=sleep"),
                ("infinity",),
            )
        )
        stack.enter_context(
            beside(
                platform,
                UNTOUCHED,
                image_of(platform, "pgbouncer"),
                (f"--volume={folder}:/bench:ro", "--entrypoint=/usr/bin/pgbouncer"),
                ("/bench/pgbouncer.ini",),
            )
        )
        platform.docker(
            *("exec", "--interactive", CLIENT, "sh", "-euc", "umask 077; cat >/tmp/pgpass"),
            stdin=f"*:*:*:{LOGIN}:{password}\n",
        )
        ways = [
            Way("direct", platform.address("postgres-db"), 5432, ("postgres-db",)),
            Way("our PgBouncer", platform.address("pgbouncer"), 6432, ("postgres-db", "pgbouncer")),
            Way("PgBouncer's defaults", platform.address(UNTOUCHED), 6432, ("postgres-db", UNTOUCHED)),
        ]
        direct = ways[0]
        platform.docker(
            *("exec", CLIENT, "pgbench", "--initialize", "--quiet", f"--scale={SCALE}"),
            *("-h", direct.address, "-p", str(direct.port), "-U", LOGIN, DATABASE),
        )
        platform.psql("CHECKPOINT")
        yield ways


# What it cannot do without; all else as it comes: pool_mode session, default_pool_size 20, max_client_conn 100.
_UNTOUCHED_INI = """\
[databases]
* = host=postgres-db
[pgbouncer]
listen_addr = *
auth_type = scram-sha-256
auth_file = /bench/userlist.txt
"""


def _write(path: Path, text: str) -> None:
    """For PgBouncer's user alone, as one of them holds a password."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(text)
    os.chown(path, 1001, 1001)


def _pgbench(platform: Platform, way: Way, kind: str, clients: int) -> Ran | None:
    """One run, or None where a client was refused or waited in vain."""
    containers = (*way.containers, CLIENT)
    # pgbench counts the time in which its clients log in.
    seconds = SECONDS + clients // 50
    before = {name: cpu_seconds(platform, name) for name in containers}
    ran = platform.run(
        [
            *("docker", "exec", CLIENT, "timeout", str(seconds + PATIENCE_SECONDS)),
            *("pgbench", "--no-vacuum", *KINDS[kind]),
            *(f"--client={clients}", f"--jobs={min(clients, 2)}", f"--time={seconds}"),
            *("-h", way.address, "-p", str(way.port), "-U", LOGIN, DATABASE),
        ],
        check=False,
    )
    after = {name: cpu_seconds(platform, name) for name in containers}
    if ran.returncode == TIMED_OUT:
        return None
    if ran.returncode:
        return _refused(ran)
    transactions = int(_number(r"^number of transactions actually processed: ([0-9]+)", ran.stdout))
    # It names no rate where nobody was served in time.
    rate = float(_number(r"^tps = ([0-9.]+)", ran.stdout)) if transactions else 0.0
    return Ran(rate, {name: (after[name] - before[name]) / max(transactions, 1) * 1e6 for name in containers})


def _refused(ran: "subprocess.CompletedProcess[str]") -> None:
    """Nothing but the refusal of a client is an answer, or that it waited in vain for one who keeps his connection."""
    words = "too many (connections|clients)|no more connections|connection slots|query_wait_timeout"
    if not re.search(words, ran.stderr):
        raise AssertionError(f"pgbench ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, text
    return found.group(1)


def _figures(
    found: dict[tuple[str, int, str], list[Ran | None]], kind: str, clients: int, ways: list[Way]
) -> Iterator[Figure]:
    def row(way: str) -> str:
        word = "client" if clients == 1 else "clients"
        refused = None in found[kind, clients, way]
        return f"{kind}, {clients} {word}, {way}{': refused' if refused else ''}"

    direct, ours, _ = (way.name for way in ways)
    for way in ways:
        ran = found[kind, clients, way.name]
        yield Figure(
            group=GROUP,
            row=row(way.name),
            unit="transactions/s",
            values=tuple(each.rate if each else 0.0 for each in ran),
            beside=None if way.name == direct or None in found[kind, clients, direct] else row(direct),
            goal=GOALS[kind] if way.name == ours and clients == GOALS_AT else None,
        )
    if clients == GOALS_AT:
        yield from _cpu_figures(found, kind, ways)


def _cpu_figures(
    found: dict[tuple[str, int, str], list[Ran | None]], kind: str, ways: list[Way]
) -> Iterator[Figure]:
    """Says where the time goes, and hardly changes when something else runs on the machine."""
    direct = ways[0]
    for way in ways:
        ran = [each for each in found[kind, GOALS_AT, way.name] if each]
        for who, containers in {"servers": way.containers, "pgbench": (CLIENT,)}.items():

            def row(of: Way, who: str = who) -> str:
                return f"processor time, {kind}, {GOALS_AT} clients, {of.name}: {who}"

            yield Figure(
                group=GROUP,
                row=row(way),
                unit="µs/transaction",
                values=tuple(sum(each.cpu[name] for name in containers) for each in ran),
                better="less",
                beside=None if way is direct else row(direct),
            )
