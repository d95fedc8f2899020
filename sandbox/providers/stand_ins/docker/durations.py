"""Durations as Go writes and reads them: the provider compares them as text."""

import re
from decimal import Decimal

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)"


def parse(text: str) -> int:
    """Nanoseconds; ValueError for what Go's time.ParseDuration refuses."""
    if text == "0":
        return 0
    if not re.fullmatch(f"({_PART})+", text):
        raise ValueError(f"not a duration: {text!r}")
    return int(sum(Decimal(number) * _UNITS[unit] for number, unit in re.findall(_PART, text)))


def text_of(nanoseconds: int) -> str:
    """Go's Duration.String(): 1m0s, 30s, 1.5s, 500ms, 0s."""
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 10**9:
        unit = next(name for name in ("ms", "µs", "ns") if nanoseconds >= _UNITS[name])
        return f"{_decimal(nanoseconds, _UNITS[unit])}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 10**9)}s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _decimal(amount: int, unit: int) -> str:
    return f"{Decimal(amount) / unit:f}".rstrip("0").rstrip(".") if amount % unit else str(amount // unit)
