"""pulumi's engine events beside what it shows: `--event-log FILE`, which is there where its debug commands are (Automation API uses it)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scripts.workstation.session import Session


@contextmanager
def kept(session: Session) -> Iterator[tuple[Session, Path]]:
    """A session whose pulumi knows the option, and the log's path, which only we can read and which is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="pulumi-events-") as folder:
        environment = {**session.environment, "PULUMI_DEBUG_COMMANDS": "true"}
        yield replace(session, environment=environment), Path(folder) / "events.jsonl"


def text_of(path: Path) -> str:
    """What pulumi has written; nothing where it has not got so far."""
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
