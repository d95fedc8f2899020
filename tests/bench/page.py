"""docs/benchmarks/README.md out of the figures."""

from collections.abc import Iterator, Mapping
from statistics import median

from tests.bench.figures import Figure
from tests.bench.results import Group, met, ratio

TITLES = {
    "pooling": "Pooling: direct, through our PgBouncer, through PgBouncer with its defaults",
    "tuned": "PostgreSQL as we set it, beside the image's defaults",
    "redis": "Redis with ACL and AOF, beside a bare one",
    "statements": "pg_stat_statements: what it costs",
    "backups": "Dump, restore and base backup, beside the plain programs and the disk",
    "applications": "The program itself, beside an empty one",
}
# Where a page beside this one says what was looked at, and why a goal is not reached: NAME.md.
EXPLAINED = ("pooling", "tuned", "redis", "backups", "applications")
HEAD = """# Benchmarks

Written by `make bench`; the figures are in [figures.json](figures.json). Rows that are compared were measured alternately, round by round, on the same
machine: the ratios say more than the figures. `BENCH_GROUPS` measures some groups anew and keeps the others, `BENCH_ROUNDS` says how often.
"""
TABLE = "| | unit | median | least to most | ratio | to | goal | |\n|---|---|---:|---|---:|---|---:|---|\n"


def page(results: Mapping[str, Group]) -> str:
    """The page, group by group in the order of TITLES; each refers to its plot, NAME.svg."""
    known = [name for name in TITLES if name in results]
    parts = [HEAD, *(section(name, results[name]) for name in known)]
    return "\n".join(parts)


def section(name: str, group: Group) -> str:
    """One group: circumstances, table, plot."""
    taken = group.taken
    machine = "; ".join(f"{what}: {value}" for what, value in taken.machine.items())
    rows = "".join(_row(figure, group) for figure in group.figures)
    more = (
        f"\nWhat was looked at, and what the limit is: [{name}.md]({name}.md).\n" if name in EXPLAINED else ""
    )
    return (
        f"## {TITLES[name]}\n\n"
        f"{taken.day}, commit {taken.commit}, {taken.rounds} round{'s' if taken.rounds > 1 else ''} in {taken.seconds:.0f} s. {machine}.\n\n"
        f"{TABLE}{rows}\n![{TITLES[name]}]({name}.svg)\n{more}"
    )


def _row(figure: Figure, group: Group) -> str:
    at = ratio(figure, group)
    cells = (
        figure.row,
        figure.unit,
        number(median(figure.values)),
        f"{number(min(figure.values))} to {number(max(figure.values))}",
        "" if at is None else f"{at:.2f}",
        figure.beside or "",
        "" if figure.goal is None else f"{'≥' if figure.better == 'more' else '≤'} {figure.goal:g}",
        {None: "", True: "met", False: "**not met**"}[met(figure, group)],
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def number(value: float) -> str:
    """Three digits that say something, whatever the size."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def missed(results: Mapping[str, Group]) -> Iterator[str]:
    """A line for each goal that was not reached."""
    for name, group in results.items():
        for figure in group.figures:
            if met(figure, group) is False:
                at = ratio(figure, group)
                found = number(median(figure.values)) if at is None else f"{at:.2f}"
                of = f"of '{figure.beside}'" if figure.beside else figure.unit
                yield f"{name}: {figure.row}: {found}, and the goal is {figure.goal:g} {of}"
