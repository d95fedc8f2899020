"""`make bench`: each group in turn, on the tests' own Docker engine; figures.json, the page and its plots are written after each.

BENCH_ROUNDS is how often each is repeated, BENCH_GROUPS (names with commas between them) which are measured anew.
"""

import importlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import page, plots, results
from tests.bench.machine import commit, machine
from tests.engine.platform import CHECKOUT, Platform

FOLDER = CHECKOUT / "docs/benchmarks"
FIGURES = FOLDER / "figures.json"
ROUNDS = 3
# Each is a module of this package with a function `measure`.
GROUPS = tuple(page.TITLES)


def chosen(text: str) -> list[str]:
    """The groups of BENCH_GROUPS, all of them where it is empty. Raises ValueError with a sentence."""
    names = [name.strip() for name in text.split(",") if name.strip()] or list(GROUPS)
    if unknown := [name for name in names if name not in GROUPS]:
        raise ValueError(f"BENCH_GROUPS names {', '.join(unknown)}; write some of {','.join(GROUPS)}")
    return [name for name in GROUPS if name in names]


def rounds_of(text: str) -> int:
    """BENCH_ROUNDS. Raises ValueError with a sentence."""
    if not text:
        return ROUNDS
    if not (text.isdecimal() and 1 <= int(text) <= 99):
        raise ValueError(f"BENCH_ROUNDS is {text}; write a number from 1 to 99")
    return int(text)


def main() -> int:
    """1 where a group could not be measured: the others are all the same."""
    try:
        groups, rounds = (
            chosen(os.environ.get("BENCH_GROUPS", "")),
            rounds_of(os.environ.get("BENCH_ROUNDS", "")),
        )
        known = results.load(FIGURES)
    except ValueError as fault:
        sys.exit(str(fault))
    with tempfile.TemporaryDirectory(prefix="cdp-bench-") as folder:
        catalogue = Path(os.environ["CDP_TEST_CATALOGUE"]).resolve()
        platform = Platform(Path(folder) / "platform", os.environ["CDP_TEST_DOCKER_HOST"], catalogue)
        try:
            platform.up()
            failed = measure(platform, groups, rounds, known)
        finally:
            platform.remove()
    for line in page.missed(results.load(FIGURES)):
        print(line)
    return int(failed)


def measure(platform: Platform, groups: Sequence[str], rounds: int, known: results.Results) -> bool:
    """One platform for all of them. Returns whether one has failed."""
    # Before there are new figures in it.
    at, failed = commit(), False
    for name in groups:
        began = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            figures = importlib.import_module(f"tests.bench.{name}").measure(platform, rounds=rounds)
            taken = results.Taken(
                day=datetime.now(UTC).date().isoformat(),
                commit=at,
                rounds=rounds,
                seconds=round(time.monotonic() - began, 1),
                machine=machine(platform),
            )
            known = results.with_group(known, name, results.Group(taken=taken, figures=tuple(figures)))
        except Exception:
            # Hours may go into the others.
            traceback.print_exc()
            failed = True
            continue
        write(known)
        print(page.section(name, known[name]), flush=True)
    return failed


def write(known: results.Results) -> None:
    """The figures, the page and a plot for each group."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(results.to_json(known) + "\n", encoding="utf-8")
    (FOLDER / "README.md").write_text(page.page(known), encoding="utf-8")
    for name, group in known.items():
        (FOLDER / f"{name}.svg").write_text(plots.svg(group), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
