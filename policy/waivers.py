"""Leave from a rule: for one resource of one stack, with a reason and a last day."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("waivers.yaml")
LONGEST = timedelta(days=366)
SHORTEST_REASON = 10
_KEYS = {"rule", "stack", "resource", "reason", "until"}


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """`until` is the last day (UTC) on which it holds."""

    rule: str
    stack: str
    resource: str
    reason: str
    until: date


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


def load(text: str, rules: Sequence[str], day: date) -> tuple[list[Waiver], list[str]]:
    """The waivers of waivers.yaml that hold on a day, and a sentence for each entry that does not."""
    try:
        entries = yaml.safe_load(text) or []
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "some line"
        return [], [f"policy/waivers.yaml is not YAML ({where}); write a list of entries as its head says"]
    if not isinstance(entries, list):
        return [], ["policy/waivers.yaml is no list; write entries as its head says"]
    good: list[Waiver] = []
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        found = list(_faults(entry, rules, day))
        faults += [f"entry {number} of policy/waivers.yaml {fault}" for fault in found]
        if not found:
            good.append(Waiver(**entry))
    return good, faults


def _faults(entry: Any, rules: Sequence[str], day: date) -> Iterator[str]:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        yield f"has other keys than {', '.join(sorted(_KEYS))}; write these"
        return
    if entry["rule"] not in rules:
        yield f"names the rule {entry['rule']}, which there is not; write one of {', '.join(rules)}"
    if len(str(entry["reason"])) < SHORTEST_REASON:
        yield f"gives no reason; write why, in {SHORTEST_REASON} characters or more"
    until = entry["until"]
    if type(until) is not date:
        yield f"has until {until}, which is no day; write it as 2027-01-31"
    elif until < day:
        yield f"ended on {until}; mend what it is for, or write a new day and reason"
    elif until > day + LONGEST:
        yield f"holds until {until}; write a day within a year"
