"""What has failed, and what the containers had said until then, once more at the end of both halves (engine-halves.sh).

A machine that runs the tests by itself may keep only the last part of what they print, or its last lines: each failure's
first line says what it was.
"""

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.engine.platform import CONTAINERS

# Of the reason, of the line that says it, and of what each container says.
REASON_LINES, LINE_CHARACTERS, LOG_LINES, PATIENCE_SECONDS = 12, 300, 6, 20


def note(report: pytest.TestReport) -> None:
    """Adds a failure to the file that CDP_TEST_FAILURES names, if it does."""
    file = os.environ.get("CDP_TEST_FAILURES")
    if not file:
        return
    reason = report.longreprtext.splitlines()[-REASON_LINES:]
    first = f"FAILED {report.nodeid} ({report.when}): {_in_a_line(report.longreprtext)}"
    lines = [first, *(f"  {line}" for line in reason)]
    for name in CONTAINERS:
        lines += [f"  {name}: {line}" for line in _last_words(name)]
    with Path(file).open("a", encoding="utf-8") as failures:
        failures.write("\n".join([*lines, "", ""]))


def _in_a_line(reason: str) -> str:
    """Pulumi's own errors stand far above the end of what it says; of anything else, what was raised."""
    raised = [line.removeprefix("E").strip() for line in reason.splitlines() if line.startswith("E ")]
    # Of a command's, or of a bridged provider's, the line after the first one says what it is.
    errors = [
        following if line.endswith(":") else line
        for line, following in pairwise([*raised, ""])
        if line.startswith("error:") and line != "error: update failed"
    ]
    return (errors or raised or [reason.strip()])[0][:LINE_CHARACTERS]


def _last_words(container: str) -> list[str]:
    words = ["docker", "logs", "--timestamps", "--tail", str(LOG_LINES), container]
    environment = {**os.environ, "DOCKER_HOST": os.environ["CDP_TEST_DOCKER_HOST"]}
    try:
        said = subprocess.run(
            words,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return [str(fault)]
    return said.stdout.splitlines()
