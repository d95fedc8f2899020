"""Our Redis (access list, append-only file written each second) beside a bare one of the same image, with neither.

redis-benchmark knows a password by its command line alone. So it comes as a user of the bench's own that needs none and has an
application's rules, word by word: a password is asked for with a connection, the rules are looked at with each command.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from components.application_settings import Application, ApplicationSettings, RedisAccess
from components.render.redis import application_user
from tests.bench.containers import beside, cpu_seconds, image_of
from tests.bench.figures import Figure
from tests.engine.platform import Platform

GROUP = "redis"
USER = "bench-client"
CLIENT, BARE = "bench-redis-benchmark", "bench-redis"
CLIENTS, KEYS, VALUE = 50, 100_000, "x" * 100
GOAL = 0.9
KEY = f"{USER}:__rand_int__"
GET, SET = ("GET", KEY), ("SET", KEY, VALUE)
# Command, and how many a client sends before it waits for their answers.
KINDS = {"SET": (SET, 1), "GET": (GET, 1), "SET, 16 at a time": (SET, 16), "GET, 16 at a time": (GET, 16)}
# Some seconds of each.
REQUESTS = {1: 100_000, 16: 800_000}


def measure(platform: Platform, *, rounds: int) -> list[Figure]:
    """Commands a second, and microseconds of the server's processor time for each."""
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    cpu: dict[tuple[str, str], list[float]] = defaultdict(list)
    with _servers(platform) as servers:
        for _ in range(rounds):
            for kind in KINDS:
                for server, login in servers.items():
                    before = cpu_seconds(platform, server)
                    rates[kind, server].append(_benchmark(platform, server, login, kind))
                    used = cpu_seconds(platform, server) - before
                    cpu[kind, server].append(used / REQUESTS[KINDS[kind][1]] * 1e6)
    return list(_figures(rates, cpu))


@contextmanager
def _servers(platform: Platform) -> Iterator[dict[str, tuple[str, ...]]]:
    """Both servers, each with what a client says to log in."""
    image = image_of(platform, "redis-cache")
    rules = application_user(Application(name=USER, settings=ApplicationSettings(redis=RedisAccess())), "")
    alike = " ".join("nopass" if word.startswith("#") else word for word in rules.split())
    memory = platform.docker("inspect", "--format", "{{.HostConfig.Memory}}", "redis-cache")
    with ExitStack() as stack:
        bare = ("--save", "", "--appendonly", "no", "--protected-mode", "no")
        stack.enter_context(beside(platform, BARE, image, (f"--memory={memory}",), ("redis-server", *bare)))
        stack.enter_context(beside(platform, CLIENT, image, ("--entrypoint=sleep",), ("infinity",)))
        admin = platform.redis()
        admin.execute_command("ACL", "SETUSER", USER, "reset", *alike.split())
        stack.callback(_clear, platform)
        yield {"redis-cache": ("--user", USER, "-a", "none"), BARE: ()}


def _clear(platform: Platform) -> None:
    admin = platform.redis()
    keys = list(admin.scan_iter(f"{USER}:*", count=1000))
    for start in range(0, len(keys), 1000):
        admin.unlink(*keys[start : start + 1000])
    admin.execute_command("ACL", "DELUSER", USER)


def _benchmark(platform: Platform, server: str, login: tuple[str, ...], kind: str) -> float:
    command, at_a_time = KINDS[kind]
    said = platform.docker(
        *("exec", CLIENT, "redis-benchmark", "--csv", "-h", platform.address(server), *login),
        *(
            "-c",
            str(CLIENTS),
            "-n",
            str(REQUESTS[at_a_time]),
            "-r",
            str(KEYS),
            "-P",
            str(at_a_time),
            *command,
        ),
    )
    # Refused commands are answered faster than those that do something.
    assert "ERR" not in said, said
    assert "NOPERM" not in said, said
    row = next(row for row in csv.reader(said.splitlines()) if row and row[0].startswith(command[0]))
    return float(row[1])


def _figures(
    rates: dict[tuple[str, str], list[float]], cpu: dict[tuple[str, str], list[float]]
) -> Iterator[Figure]:
    names = {BARE: "bare", "redis-cache": "ours"}
    for kind in KINDS:
        for server in (BARE, "redis-cache"):
            ours = server != BARE
            yield Figure(
                group=GROUP,
                row=f"{kind}, {names[server]}",
                unit="commands/s",
                values=tuple(rates[kind, server]),
                beside=f"{kind}, {names[BARE]}" if ours else None,
                goal=GOAL if ours else None,
            )
            yield Figure(
                group=GROUP,
                row=f"processor time of the server, {kind}, {names[server]}",
                unit="µs/command",
                values=tuple(cpu[kind, server]),
                better="less",
                beside=f"processor time of the server, {kind}, {names[BARE]}" if ours else None,
            )
