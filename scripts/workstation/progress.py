"""One line for each step: its number, what it does, a sign of life, how long it took."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

SIGN_OF_LIFE_SECONDS = 10.0


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `4 min 2 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Step:
    """One step under way."""

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream = stream
        self._label = label
        self._result = ""
        self._own_lines = False
        self._lock = threading.Lock()
        self._write(f"{label} ... ")

    def expect(self, what: str) -> None:
        """Say what takes long, and roughly how long."""
        self._write(f"{what} ... ")

    def result(self, text: str) -> None:
        """What to say at the end, beside the time."""
        self._result = text

    def line(self, text: str) -> None:
        """A line of its own below the step."""
        with self._lock:
            if not self._own_lines:
                self._stream.write("\n")
                self._own_lines = True
            self._stream.write(f"      {text}\n")
            self._stream.flush()

    def alive(self) -> None:
        """A dot, for a step that takes long and has no lines of its own to show."""
        if not self._own_lines:
            self._write(".")

    def end(self, took: float, *, failed: bool = False) -> None:
        """Close the line."""
        words = ["failed after" if failed else self._result and f"{self._result},", duration(took)]
        text = " ".join(word for word in words if word)
        self._write(f"{self._label}: {text}\n" if self._own_lines else f"{text}\n")

    def _write(self, text: str) -> None:
        with self._lock:
            self._stream.write(text)
            self._stream.flush()


class Progress:
    """Counts the steps of one command."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stdout
        self._number = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time the body and show it as one line."""
        self._number += 1
        step = Step(self._stream, f"[{self._number}/{self._total}] {title}")
        started = time.monotonic()
        stop = threading.Event()
        ticker = threading.Thread(target=_tick, args=(step, stop), daemon=True)
        ticker.start()
        try:
            yield step
        except BaseException:
            stop.set()
            step.end(time.monotonic() - started, failed=True)
            raise
        stop.set()
        step.end(time.monotonic() - started)

    def note(self, text: str) -> None:
        """A line between steps."""
        self._stream.write(f"      {text}\n")
        self._stream.flush()


def _tick(step: Step, stop: threading.Event) -> None:
    while not stop.wait(SIGN_OF_LIFE_SECONDS):
        step.alive()
