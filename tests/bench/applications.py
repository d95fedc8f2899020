"""The program itself: preview, an `up` that changes nothing and one that changes one thing, by the number of applications.

Beside it an empty Pulumi program, with the same CLI, language host and virtual environment. Then what a rotation costs those who log
in meanwhile.
"""

import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from tests.bench import processes
from tests.bench.figures import Figure
from tests.engine.platform import CHECKOUT, Platform, canary

GROUP = "applications"
COUNTS = (1, 10, 50)
TIMES_AN_EMPTY_PROGRAM = 3.0
SECONDS_PER_APPLICATION = 0.1
# What is alike in the empty program and in ours.
UP = ("up", "--skip-preview")
PREVIEW = ("preview",)
POLICIES = ("--policy-pack", str(CHECKOUT / "policy"))
# At so many applications, what takes the time, and what policies add.
LOOKED_AT = 10

Found = dict[str, list[float]]


def measure(platform: Platform, *, rounds: int) -> list[Figure]:
    """Seconds of the clock, then of the processors; logins in milliseconds."""
    # As many logins as there are applications at the most.
    platform.config |= {"postgres": {"memory": 512, "port": 5432, "maxConnections": 200}}
    empty = _empty_program(platform)
    clock: Found = defaultdict(list)
    processors: Found = defaultdict(list)
    for count in COUNTS:
        _configure(platform, count)
        platform.up()
        for number in range(rounds):
            _round(platform, empty, count, number, clock, processors)
    figures = [*_times(clock, rounds), *_shares(processors)]
    return [*figures, *_rotations(platform, rounds)]


def _round(platform: Platform, empty: Path, count: int, number: int, clock: Found, processors: Found) -> None:
    for what, words in {"preview": PREVIEW, "no-op up": UP}.items():
        for whose, folder in {"empty program": empty, _ours(count): platform.project}.items():
            ran = _pulumi(platform, folder, *words)
            clock[f"{what}, {whose}"].append(ran.seconds)
            if words == UP and count == LOOKED_AT:
                for role, seconds in ran.processors.items():
                    processors[f"{whose}: {role}"].append(seconds)
    if count == LOOKED_AT:
        for whose, folder in {"empty program": empty, _ours(count): platform.project}.items():
            clock[f"no-op up with policies, {whose}"].append(
                _pulumi(platform, folder, *UP, *POLICIES).seconds
            )
    _configure(platform, count, direct=2 + number % 2)
    clock[f"one-change up, {_ours(count)}"].append(_pulumi(platform, platform.project, *UP).seconds)


def _ours(count: int) -> str:
    return f"platform with {count} application{'s' if count > 1 else ''}"


def _pulumi(platform: Platform, folder: Path, *words: str) -> processes.Ran:
    confirmed = ["--yes"] if words[0] == "up" else []
    command = ["pulumi", "--non-interactive", *words, *confirmed, "--stack", platform.stack_name]
    return processes.run(command, folder=folder, environment=platform.environment)


def _empty_program(platform: Platform) -> Path:
    folder = platform.folder / "empty"
    folder.mkdir()
    (folder / "__main__.py").write_text('"""Nothing."""\n')
    runtime = "{name: python, options: {toolchain: pip, virtualenv: .venv}}"
    (folder / "Pulumi.yaml").write_text(f"name: empty\nruntime: {runtime}\n")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    processes.run(
        ["pulumi", "--non-interactive", "stack", "init", platform.stack_name],
        folder=folder,
        environment=platform.environment,
    )
    _pulumi(platform, folder, *UP)
    return folder


def _configure(platform: Platform, count: int, direct: int = 1) -> None:
    """So many applications; `direct` is the first one's directConnections."""
    names = [f"bench-{number:02d}" for number in range(count)]
    entries = {name: {"redis": True, "pool": 2, "directConnections": 1} for name in names}
    entries[names[0]]["directConnections"] = direct
    platform.config |= {"applications": entries}
    known = platform.application_secrets
    platform.application_secrets = {
        name: known.get(name) or {"database": canary(), "redis": canary()} for name in names
    }
    platform.write_config()


def _times(clock: Found, rounds: int) -> Iterator[Figure]:
    for row, values in clock.items():
        what, _, whose = row.partition(", ")
        beside = None if whose == "empty program" else f"{what}, empty program"
        yield Figure(
            group=GROUP,
            row=row,
            unit="s",
            values=tuple(values),
            better="less",
            beside=beside if beside in clock else None,
            # What further ones may take is said by the slope below.
            goal=TIMES_AN_EMPTY_PROGRAM if row == f"no-op up, {_ours(COUNTS[0])}" else None,
        )
    least, most = COUNTS[0], COUNTS[-1]
    for what in ("preview", "no-op up", "one-change up"):
        few, many = clock[f"{what}, {_ours(least)}"], clock[f"{what}, {_ours(most)}"]
        yield Figure(
            group=GROUP,
            row=f"{what}, each further application",
            unit="s/application",
            values=tuple((many[n] - few[n]) / (most - least) for n in range(rounds)),
            better="less",
            goal=SECONDS_PER_APPLICATION,
        )


def _shares(processors: Found) -> Iterator[Figure]:
    for row, values in sorted(processors.items()):
        yield Figure(
            group=GROUP, row=row, unit="processor s of a no-op up", values=tuple(values), better="less"
        )


def _rotations(platform: Platform, rounds: int) -> Iterator[Figure]:
    """Logins of another application, direct ones, before and while one is rotated."""
    _configure(platform, 2)
    platform.up()
    other = platform.application_secrets["bench-01"]["database"]
    found: Found = defaultdict(list)
    for _ in range(rounds):
        before, _ = _logins(platform, other, lambda: time.sleep(3))
        platform.application_secrets["bench-00"]["database"] = canary()
        platform.write_config()
        during, refused = _logins(platform, other, platform.up)
        for when, taken in {"at rest": before, "while another is rotated": during}.items():
            found[f"login {when}, median"].append(statistics.median(taken))
            found[f"login {when}, longest"].append(max(taken))
        found["logins refused while another is rotated"].append(refused)
    for row, values in found.items():
        unit = "logins" if "refused" in row else "ms"
        beside = (
            row.replace("while another is rotated", "at rest") if "while" in row and unit == "ms" else None
        )
        yield Figure(group=GROUP, row=row, unit=unit, values=tuple(values), better="less", beside=beside)


def _logins(platform: Platform, password: str, meanwhile: Callable[[], object]) -> tuple[list[float], int]:
    over = threading.Event()
    taken: list[float] = []
    refused = 0

    def log_in() -> None:
        nonlocal refused
        while not over.is_set():
            begin = time.monotonic()
            try:
                platform.connect(
                    user="bench_01_user", password=password, database="bench_01", pooled=False
                ).close()
            except psycopg.OperationalError:
                refused += 1
            taken.append((time.monotonic() - begin) * 1000)

    thread = threading.Thread(target=log_in)
    thread.start()
    try:
        meanwhile()
    finally:
        over.set()
        thread.join()
    return taken, refused
