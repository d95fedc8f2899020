"""Values that the provider's schema refuses although their type is right."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from sandbox.providers.stand_ins.docker import durations
from sandbox.providers.stand_ins.values import UNKNOWN


def _pattern(expression: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        return None if re.fullmatch(expression, str(value)) else f"must match the pattern {expression}"

    return check


def _at_least(minimum: int) -> Callable[[Any], str | None]:
    return lambda value: None if value >= minimum else f"must be {minimum} or more"


def _duration(value: Any) -> str | None:
    try:
        durations.parse(value)
    except ValueError:
        return "must be a duration such as 30s or 1m0s"
    return None


def _host_path(value: Any) -> str | None:
    return None if re.match(r"/|[a-zA-Z]:\\", value) else "must be an absolute path"


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "restart": _pattern("no|on-failure|always|unless-stopped"),
    "cpuSet": _pattern(r"\d+([,-]\d+)*"),
    "memory": _at_least(0),
    "memorySwap": _at_least(-1),
    "shmSize": _at_least(0),
    "cpuShares": _at_least(0),
    "healthcheck.interval": _duration,
    "healthcheck.timeout": _duration,
    "healthcheck.startPeriod": _duration,
    "healthcheck.startInterval": _duration,
    "healthcheck.retries": _at_least(0),
    "mounts.type": _pattern("bind|volume|tmpfs"),
    "uploads.permissions": _pattern("0[0-7]{3}"),
    "volumes.hostPath": _host_path,
}


def problems(inputs: dict[str, Any], at: str) -> Iterator[str]:
    """One sentence for each container input with a value that the schema refuses."""
    for path, check in _CHECKS.items():
        name, _, nested = path.partition(".")
        for place, value in _values(inputs.get(name), nested, f"{at}.{name}"):
            complaint = check(value)
            if complaint:
                yield f"Invalid value: {complaint}. Examine values at '{place}'."


def _values(value: Any, nested: str, place: str) -> Iterator[tuple[str, Any]]:
    if value is None or value == UNKNOWN:
        return
    if not nested:
        yield place, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _values(item, nested, f"{place}[{index}]")
    elif nested in value:
        yield from _values(value[nested], "", f"{place}.{nested}")
