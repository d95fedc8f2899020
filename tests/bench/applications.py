"""How the time of `up` grows with the number of applications, and what a rotation costs those who log in meanwhile."""

import statistics
import threading
import time
from collections.abc import Callable

import psycopg

from tests.engine.platform import Platform, canary

COUNTS = (0, 1, 10, 50)


def measure(platform: Platform) -> None:
    """Print both tables. Times are seconds of the wall clock, logins milliseconds."""
    platform.config |= {"postgres": {"memory": 512, "maxConnections": 200}}
    print("applications   up that adds them   second up   up --refresh", flush=True)
    timed: dict[int, tuple[float, float, float]] = {}
    for count in COUNTS:
        _configure(platform, count)
        timed[count] = (
            _seconds(platform.up),
            _seconds(platform.up),
            _seconds(lambda: platform.up(refresh=True)),
        )
        print("{:12d}{:20.1f}{:12.1f}{:15.1f}".format(count, *timed[count]), flush=True)
    more = COUNTS[-1] - COUNTS[1]
    slopes = [(last - first) / more for first, last in zip(timed[1], timed[COUNTS[-1]], strict=True)]
    print("{:>12s}{:20.2f}{:12.2f}{:15.2f}".format("each further", *slopes), flush=True)
    _measure_rotation(platform)


def _configure(platform: Platform, count: int) -> None:
    names = [f"bench-{number:02d}" for number in range(count)]
    platform.config |= {
        "applications": {name: {"redis": True, "pool": 2, "directConnections": 1} for name in names}
    }
    known = platform.application_secrets
    platform.application_secrets = {
        name: known.get(name) or {"database": canary(), "redis": canary()} for name in names
    }
    platform.write_config()


def _measure_rotation(platform: Platform) -> None:
    """Logins of another application, direct ones, before and while one is rotated."""
    other = platform.application_secrets["bench-01"]["database"]
    before = _logins(platform, other, lambda: time.sleep(3))
    platform.application_secrets["bench-00"]["database"] = canary()
    platform.write_config()
    during = _logins(platform, other, platform.up)
    print("\nlogins of another application   median ms   longest ms   refused")
    for what, (taken, refused) in {"at rest": before, "while one is rotated": during}.items():
        print(f"{what:29s}{statistics.median(taken):12.1f}{max(taken):13.1f}{refused:10d}")


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


def _seconds(action: Callable[[], object]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin
