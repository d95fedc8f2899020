"""One command at a time on a stack that is made here, and stale locks of pulumi's file backend."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.workstation.progress import Progress
from scripts.workstation.session import Session
from scripts.workstation.shell import answer, logged
from scripts.workstation.trouble import Trouble


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Who holds pulumi's lock on a stack."""

    pid: int
    hostname: str
    since: str


@contextmanager
def exclusive(file: Path, command: str, stack: str) -> Iterator[None]:
    """Hold the checkout's own lock on a stack; the kernel lets it go when we end, however we end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.seek(0)
            holder = held.read().strip() or "another command"
            raise Trouble(
                f"{holder} is still running on the {stack} stack; wait for it to end, then run the same command again"
            ) from None
        held.truncate(0)
        held.write(f"make {command} (pid {os.getpid()})")
        held.flush()
        try:
            yield
        finally:
            held.truncate(0)


def read_locks(backend: Path, project: str, stack: str) -> list[Lock]:
    """The locks in a file backend; one that cannot be read counts as nobody's."""
    locks: list[Lock] = []
    for path in (backend / ".pulumi" / "locks" / "organization" / project / stack).glob("*.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            locks.append(
                Lock(
                    pid=int(content["pid"]),
                    hostname=str(content["hostname"]),
                    since=str(content["timestamp"]).partition(".")[0],
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            locks.append(Lock(pid=0, hostname=socket.gethostname(), since="unknown"))
    return locks


def alive(lock: Lock) -> bool:
    """Whether the holder may still be at work: on another host nobody can tell, here the process must be a pulumi."""
    if lock.hostname != socket.gethostname():
        return True
    if lock.pid <= 0:
        return False
    if Path("/proc/self").exists():
        try:
            stat = Path(f"/proc/{lock.pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        # `pid (name) state …`: a number is given again to another process, and a zombie has ended, whoever has yet to hear of it.
        name, _, state = stat.rpartition(")")
        return "pulumi" in name and not state.startswith(" Z")
    name = answer(["ps", "-p", str(lock.pid), "-o", "comm="]).stdout
    return "pulumi" in name


def clear_stale(session: Session, backend: Path, project: str, progress: Progress) -> None:
    """Take away what a killed pulumi left. Raises Trouble where one is at work."""
    found = read_locks(backend, project, session.stack)
    for lock in found:
        if alive(lock):
            where = "" if lock.hostname == socket.gethostname() else f" on host {lock.hostname}"
            raise Trouble(
                f"another up is running{where} (pid {lock.pid}, since {lock.since}); wait for it to end, then run the same command again"
            )
    if not found:
        return
    logged(
        [session.executable, "cancel", "--yes", "--stack", session.stack],
        log="cancel",
        failure="the lock of a pulumi that was killed could not be removed",
        environment=session.environment,
        timeout=60,
    )
    progress.note(
        f"removed the lock of a pulumi that was killed (pid {', '.join(str(lock.pid) for lock in found)})"
    )
