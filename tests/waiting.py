"""Waiting for what others do in their own time: the kernel, a program, a container."""

import time
from collections.abc import Callable
from pathlib import Path


def until(true: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait for something, or fail by its name."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between opening and reading
        return False
