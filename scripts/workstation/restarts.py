"""How long a service is away when its container is replaced: as this stack's last `up` took from here, or as we have measured."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.workstation import atomic
from scripts.workstation.parts import Kind, part_of
from scripts.workstation.paths import STATE

# Seconds from the begin of the stop to the healthy new container, with little data: the longest of several, on two cores that had
# ten times as much to do. A large shared_buffers is written out first. A stack's own last restart says more.
MEASURED = {"postgres-db": 12.0, "pgbouncer": 9.0, "redis-cache": 8.0}
MEASURED_WHERE = "measured with little data on a busy machine"
# OCI restarts a machine for another size (docs/production.md). How long that takes is its own; we have not measured it.
MACHINE = "a minute or two, by what OCI says; not measured here"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """`seconds` without a service, and where that figure comes from."""

    seconds: float
    source: str


class Stopwatch:
    """Seconds without each container, by its name, heard from the events of an `up`."""

    def __init__(self) -> None:
        self._stopped: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def hear(self, event: Mapping[str, Any], at: float) -> None:
        """One event and its time, in seconds of any clock."""
        if pre := event.get("resourcePreEvent"):
            step = pre["metadata"]
            if _is_container(step) and step["op"] == "delete-replaced":
                self._stopped[step["urn"]] = at
        elif done := event.get("resOutputsEvent"):
            step = done["metadata"]
            if step["op"] == "create-replacement" and step["urn"] in self._stopped:
                name = str(((step.get("new") or {}).get("inputs") or {}).get("name"))
                self.seconds[name] = at - self._stopped.pop(step["urn"])


def _is_container(step: Mapping[str, Any]) -> bool:
    part = part_of(str(step["type"]), str(step["urn"]).rpartition("::")[2])
    return part is not None and part.kind is Kind.CONTAINER


def of_log(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The same of an event log, whose times are whole seconds."""
    watch = Stopwatch()
    for event in events:
        watch.hear(event, float(event.get("timestamp", 0)))
    return watch.seconds


def path_of(stack: str) -> Path:
    """Where a stack's figures are, on this workstation."""
    return STATE / stack / "restarts.json"


def remember(path: Path, seconds: Mapping[str, float], now: float | None = None) -> None:
    """Write down what an `up` took, beside what earlier ones took."""
    if not seconds:
        return
    day = datetime.fromtimestamp(time.time() if now is None else now, UTC).date().isoformat()
    known = _remembered(path) | {
        name: {"seconds": round(took, 1), "day": day} for name, took in seconds.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, json.dumps(known, indent=2, sort_keys=True) + "\n")


def expected(container: str, path: Path) -> Expected | None:
    """The figure for a container; None for one that nobody waits for."""
    if found := _remembered(path).get(container):
        return Expected(seconds=found["seconds"], source=f"this stack's last one, on {found['day']}")
    if container in MEASURED:
        return Expected(seconds=MEASURED[container], source=MEASURED_WHERE)
    return None


def _remembered(path: Path) -> dict[str, dict[str, Any]]:
    # It only helps to guess: one that cannot be read is as good as none.
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): {"seconds": float(entry["seconds"]), "day": str(entry["day"])}
            for name, entry in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
