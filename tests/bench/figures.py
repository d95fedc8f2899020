"""What a benchmark found: rows to be set side by side."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of a group: its values in the order of the rounds, and the row that it is compared with.

    `goal` is the least ratio to `beside` (median by median) where more is better, the greatest where less is.
    """

    group: str
    row: str
    unit: str
    values: tuple[float, ...]
    better: Literal["more", "less"] = "more"
    beside: str | None = None
    goal: float | None = None
