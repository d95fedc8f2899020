"""A run of pulumi, and the processor time of each of its processes."""

import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

TICKS = os.sysconf("SC_CLK_TCK")
PAUSE_SECONDS = 0.05
# By a word of its command line, the first that fits.
ROLES = {
    "pulumi.policy": "policies",
    "pulumi.dynamic": "provider of host states",
    "pulumi-language-python-exec": "program",
    "pulumi-language-python": "language host",
    "_plugin.py": "provider plugins",
    "pulumi-resource-": "provider plugins",
    "pulumi": "engine",
}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """Seconds of the clock, and of the processors by role; what ended within PAUSE_SECONDS is not counted."""

    seconds: float
    processors: dict[str, float]


def run(words: list[str], *, folder: Path, environment: dict[str, str]) -> Ran:
    """Run it to its end. Raises AssertionError with what it has said when it fails."""
    began = time.monotonic()
    process = Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
        errors="replace",
    )
    over, seen = threading.Event(), dict[int, tuple[str, float]]()
    watch = threading.Thread(target=_watch, args=(process.pid, over, seen))
    watch.start()
    out, err = process.communicate()
    seconds = time.monotonic() - began
    over.set()
    watch.join()
    assert process.returncode == 0, f"{words} ended with {process.returncode}:\n{out}\n{err}"
    by_role: dict[str, float] = defaultdict(float)
    for line, used in seen.values():
        by_role[role(line)] += used
    return Ran(seconds=seconds, processors=dict(by_role))


def role(line: str) -> str:
    """What a process is, by its command line."""
    return next((what for word, what in ROLES.items() if word in line), "other")


def _watch(root: int, over: threading.Event, seen: dict[int, tuple[str, float]]) -> None:
    while not over.wait(PAUSE_SECONDS):
        family = {root}
        # A child's number is mostly the greater one; where it is not, the next look finds it.
        for pid in sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                if pid not in family and int(fields[1]) not in family:
                    continue
                family.add(pid)
                line = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
            except OSError:
                continue
            if line:
                seen[pid] = (line, (int(fields[11]) + int(fields[12])) / TICKS)
