"""What pg_stat_statements costs: pgbench's shortest statements with it and without it, on the same server."""

import re

from tests.bench.figures import Figure
from tests.engine.platform import Platform

GROUP = "statements"
DATABASE, SCALE, CLIENTS, SECONDS = "bench_statements", 10, 8, 10
# The library stays loaded; what it does for each statement is on or off for a connection.
ROWS = {"not tracked": "none", "tracked": "top"}


def measure(platform: Platform, *, rounds: int) -> list[Figure]:
    """Transactions per second, prepared select-only over the socket: where a statement does least, the share is largest."""
    platform.psql(f"CREATE DATABASE {DATABASE}")
    try:
        _pgbench(platform, "--initialize", "--quiet", f"--scale={SCALE}")
        values: dict[str, list[float]] = {row: [] for row in ROWS}
        for turn in range(rounds):
            # Each round begins with the other one.
            for row in sorted(ROWS, reverse=bool(turn % 2)):
                values[row].append(_rate(platform, ROWS[row]))
    finally:
        platform.psql(f"DROP DATABASE {DATABASE}")
    return [
        Figure(group=GROUP, row="not tracked", unit="transactions/s", values=tuple(values["not tracked"])),
        Figure(
            group=GROUP,
            row="tracked",
            unit="transactions/s",
            values=tuple(values["tracked"]),
            beside="not tracked",
            goal=0.95,
        ),
    ]


def _rate(platform: Platform, track: str) -> float:
    before = _calls(platform)
    said = _pgbench(
        platform,
        *("--select-only", "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}", "--jobs=2"),
        f"--time={SECONDS}",
        options=f"-c pg_stat_statements.track={track}",
    )
    # A run that is not what its row says is no figure.
    assert (_calls(platform) > before) == (track != "none"), track
    found = re.search(r"^tps = ([0-9.]+)", said, re.MULTILINE)
    assert found, said
    return float(found[1])


def _calls(platform: Platform) -> int:
    return int(
        platform.psql(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
            f"WHERE datname = '{DATABASE}' AND query LIKE 'SELECT abalance%'"
        )
    )


def _pgbench(platform: Platform, *words: str, options: str = "") -> str:
    environment = ["--env", f"PGOPTIONS={options}"] if options else []
    return platform.docker(
        "exec", *environment, "postgres-db", "pgbench", "--username=platform_admin", *words, DATABASE
    )
