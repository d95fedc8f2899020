"""What `make bench` makes of figures: ratios, goals, the page, plots; the benchmarks themselves need engines."""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import __main__ as bench
from tests.bench import page, plots, processes, results
from tests.bench.figures import Figure
from tests.engine.platform import CHECKOUT

TAKEN = results.Taken(
    day="2026-11-30",
    commit="abc1234",
    rounds=3,
    seconds=61.4,
    machine={"processors": "2 of some", "memory": "8 GiB"},
)


def figure(row: str, *values: float, **further: object) -> Figure:
    return dataclasses.replace(Figure(group="backups", row=row, unit="MiB/s", values=values), **further)  # type: ignore[arg-type]


PLAIN = figure("pg_dump | zstd", 50.0, 40.0, 60.0)
OURS = figure("backup.sh", 44.0, 46.0, 45.0, beside="pg_dump | zstd", goal=0.9)
SLOW = figure("restore.sh", 20.0, 21.0, 22.0, beside="pg_dump | zstd", goal=0.9)
DRILL = figure("drill", 1234.0, unit="s", better="less")
GROUP = results.Group(taken=TAKEN, figures=(PLAIN, OURS, SLOW, DRILL))


def test_the_page(golden: Callable[[str, str], None]) -> None:
    other = dataclasses.replace(
        GROUP, figures=(figure("up", 3.0, group="applications", unit="s", better="less", goal=5.0),)
    )
    golden("benchmarks.md", page.page({"applications": other, "backups": GROUP}))


@pytest.mark.parametrize(
    ("better", "value", "beside", "reached"),
    [
        ("more", 45.0, 50.0, True),
        ("more", 44.9, 50.0, False),
        ("less", 45.0, 50.0, True),
        ("less", 45.1, 50.0, False),
    ],
)
def test_a_goal_is_the_least_ratio_or_the_greatest(
    better: str, value: float, beside: float, reached: bool
) -> None:
    row = figure("ours", value, better=better, beside="theirs", goal=0.9)
    group = results.Group(taken=TAKEN, figures=(figure("theirs", beside), row))
    assert results.met(row, group) is reached


def test_without_a_row_beside_it_a_goal_is_of_the_median_itself() -> None:
    for median, reached in ((0.09, True), (0.11, False)):
        row = figure("slope", 0.0, median, 9.0, better="less", goal=0.1)
        assert results.met(row, results.Group(taken=TAKEN, figures=(row,))) is reached


def test_beside_nothing_but_zeros_no_goal_is_reached() -> None:
    """Direct connections that PostgreSQL refuses are such a row."""
    row = figure("ours", 5.0, beside="theirs", goal=0.9)
    group = results.Group(taken=TAKEN, figures=(figure("theirs", 0.0), row))
    assert results.ratio(row, group) is None
    assert results.met(row, group) is False


def test_goals_that_are_missed_are_named() -> None:
    assert list(page.missed({"backups": GROUP})) == [
        "backups: restore.sh: 0.42, and the goal is 0.9 of 'pg_dump | zstd'"
    ]


def test_a_group_measured_anew_leaves_the_others() -> None:
    before = {"backups": GROUP}
    other = results.Group(taken=TAKEN, figures=(figure("GET", 1.0, group="redis"),))
    after = results.with_group(before, "redis", other)
    assert after == {"backups": GROUP, "redis": other}
    assert before == {"backups": GROUP}
    assert results.from_json(results.to_json(after)) == after


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ((figure("a", 1.0, group="redis"),), "figures of redis"),
        ((figure("a", 1.0), figure("a", 2.0)), "more than one row 'a'"),
        ((figure("a", 1.0, beside="b"),), "compared with 'b', which is no row"),
        ((figure("a"),), "'a' of group backups has no value"),
    ],
)
def test_figures_that_cannot_be_set_side_by_side_are_refused(
    figures: tuple[Figure, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        results.with_group({}, "backups", results.Group(taken=TAKEN, figures=figures))


def test_another_form_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert results.load(path) == {}
    path.write_text('{"schema": 2}')
    with pytest.raises(ValueError, match="has schema 2, not 1"):
        results.load(path)


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_a_number_is_near_what_it_stands_for(value: float) -> None:
    assert float(page.number(value).replace(",", "")) == pytest.approx(value, rel=0.006)


def test_a_plot_is_the_same_for_the_same_figures_and_says_each_row() -> None:
    once = plots.svg(GROUP)
    assert once == plots.svg(GROUP)
    said = "".join(ElementTree.fromstring(once).itertext())  # noqa: S314
    assert all(row.row in said for row in GROUP.figures)
    assert "1,234" in said


def test_every_group_has_a_module_that_measures() -> None:
    assert bench.chosen("") == list(page.TITLES)
    for name in bench.GROUPS:
        assert callable(importlib.import_module(f"tests.bench.{name}").measure)


def test_what_is_asked_for_is_checked() -> None:
    assert bench.chosen("applications, redis") == ["redis", "applications"]
    with pytest.raises(ValueError, match="BENCH_GROUPS names program; write some of pooling,tuned,redis"):
        bench.chosen("redis,program")
    assert (bench.rounds_of(""), bench.rounds_of("5")) == (3, 5)
    for text in ("0", "-1", "many", "100"):
        with pytest.raises(ValueError, match=f"BENCH_ROUNDS is {text}; write a number from 1 to 99"):
            bench.rounds_of(text)


def test_a_run_counts_the_processor_time_of_its_children(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.6: pass"
    (tmp_path / "docker_plugin.py").write_text(busy)
    ran = processes.run(
        ["sh", "-c", "python3 docker_plugin.py & wait"],
        folder=tmp_path,
        environment={"PATH": "/usr/bin:/bin:/usr/local/bin"},
    )
    assert 0.3 < ran.processors["provider plugins"] < 0.9
    assert ran.seconds >= ran.processors["provider plugins"]
    with pytest.raises(AssertionError, match=r"ended with 3:\n\nwhy"):
        processes.run(
            ["sh", "-c", "echo why >&2; exit 3"], folder=tmp_path, environment={"PATH": "/usr/bin:/bin"}
        )


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("/x/.venv/bin/python -u -m pulumi.dynamic 127.0.0.1:1", "provider of host states"),
        ("python -u -m pulumi.policy 127.0.0.1:1 /x/policy", "policies"),
        ("python -u /x/pulumi-language-python-exec --monitor 127.0.0.1:2 .", "program"),
        ("python3 /x/pulumi-language-python -root=/x 127.0.0.1:1", "language host"),
        (
            "/home/.pulumi/plugins/resource-docker-v5.2.0/pulumi-resource-docker 127.0.0.1:1",
            "provider plugins",
        ),
        ("pulumi --non-interactive up", "engine"),
        ("sh -c true", "other"),
    ],
)
def test_a_process_is_known_by_its_command_line(line: str, role: str) -> None:
    assert processes.role(line) == role


def test_what_is_said_to_be_explained_is() -> None:
    for name in page.EXPLAINED:
        assert (CHECKOUT / f"docs/benchmarks/{name}.md").exists(), name
