"""What is kept of a benchmark: its figures by group, each group with the day, the machine and the commit that they are of."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.figures import Figure

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The circumstances: `day` is UTC, YYYY-MM-DD; `machine` is what there is to know of it, by its name."""

    day: str
    commit: str
    rounds: int
    seconds: float
    machine: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The figures of one group in the order in which they were given."""

    taken: Taken
    figures: tuple[Figure, ...]


Results = dict[str, Group]


def with_group(results: Mapping[str, Group], name: str, group: Group) -> Results:
    """The results with one group measured anew; the others stay as they are.

    Raises ValueError where figures are of another group, where two have the same row, or where one is compared with none.
    """
    rows = [figure.row for figure in group.figures]
    if strangers := {figure.group for figure in group.figures} - {name}:
        raise ValueError(f"group {name} gave figures of {', '.join(sorted(strangers))}")
    if twice := {row for row in rows if rows.count(row) > 1}:
        raise ValueError(f"group {name} has more than one row '{min(twice)}'")
    for figure in group.figures:
        if figure.beside is not None and figure.beside not in rows:
            raise ValueError(
                f"row '{figure.row}' of group {name} is compared with '{figure.beside}', which is no row"
            )
        if not figure.values:
            raise ValueError(f"row '{figure.row}' of group {name} has no value")
    return {**results, name: group}


def ratio(figure: Figure, group: Group) -> float | None:
    """Median to median of the row beside it; none where it is compared with nothing, or with nothing but zeros."""
    beside = [other for other in group.figures if other.row == figure.beside]
    if not beside or not (base := median(beside[0].values)):
        return None
    return median(figure.values) / base


def met(figure: Figure, group: Group) -> bool | None:
    """Whether the goal is reached; none where there is no goal. A comparison that could not be made reaches none.

    The goal of a row that is compared with nothing is one for its own median.
    """
    if figure.goal is None:
        return None
    reached = ratio(figure, group) if figure.beside is not None else median(figure.values)
    if reached is None:
        return False
    return reached >= figure.goal if figure.better == "more" else reached <= figure.goal


def to_json(results: Mapping[str, Group]) -> str:
    """A text that differs only where a figure does."""
    return json.dumps(
        {"schema": SCHEMA, "groups": {name: asdict(group) for name, group in results.items()}},
        indent=1,
        ensure_ascii=False,
    )


def from_json(text: str) -> Results:
    """What `to_json` has written. Raises ValueError where it is another form."""
    said = json.loads(text)
    if said.get("schema") != SCHEMA:
        raise ValueError(
            f"figures.json has schema {said.get('schema')}, not {SCHEMA}; delete it and measure anew"
        )
    return {name: _group(group) for name, group in said["groups"].items()}


def _group(said: dict[str, Any]) -> Group:
    figures = (Figure(**{**row, "values": tuple(row["values"])}) for row in said["figures"])
    return Group(taken=Taken(**said["taken"]), figures=tuple(figures))


def load(path: Path) -> Results:
    """Those of an earlier run, if there is one."""
    return from_json(path.read_text(encoding="utf-8")) if path.exists() else {}
