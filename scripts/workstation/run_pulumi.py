"""Running pulumi: followed through its events for a stack that is made here, or left to the user's terminal for the others."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any, TextIO

from scripts.workstation import backend, restarts
from scripts.workstation.events import Narrator, summary
from scripts.workstation.paths import ROOT
from scripts.workstation.progress import Step
from scripts.workstation.session import Session, complaint
from scripts.workstation.shell import answer, last_line, log_path
from scripts.workstation.trouble import Trouble

PLUGIN_SECONDS = 2.0


class Cancelled(Trouble):
    """Ctrl-C, after which pulumi ended in its own way."""


def attached(session: Session, words: Sequence[str], printed: bytearray | None = None) -> int:
    """Run with the terminal as it is. pulumi is in the terminal's group and hears Ctrl-C itself.

    `printed` gets a copy of all that it prints, for which its standard output is no terminal any more. Returns pulumi's exit
    code. Raises Trouble where the stack's state is locked.
    """
    with _handling(lambda *_: None):
        # Questions and progress are on its standard output. What it says of its failure is passed on and remembered.
        output = None if printed is None else subprocess.PIPE
        process = subprocess.Popen(
            words, env=session.environment, cwd=ROOT, stdout=output, stderr=subprocess.PIPE
        )
        said = bytearray()
        copies = [(process.stderr, sys.stderr, said), (process.stdout, sys.stdout, printed)]
        listeners = [
            threading.Thread(target=_pass_on, args=(stream, to, copy), daemon=True)
            for stream, to, copy in copies
            if stream and copy is not None
        ]
        for listener in listeners:
            listener.start()
        code = process.wait()
    # A plugin that outlives a killed pulumi holds the other end open.
    for listener in listeners:
        listener.join(PLUGIN_SECONDS)
    if printed is not None:
        printed += said
    if code and (sentence := backend.locked(said.decode(errors="replace"), session.stack)):
        raise Trouble(sentence, code)
    return code


def _pass_on(stream: IO[bytes], to: TextIO, copy: bytearray) -> None:
    while piece := os.read(stream.fileno(), 65536):
        to.buffer.write(piece)
        to.flush()
        copy += piece


def followed(session: Session, words: Sequence[str], *, step: Step, what: str) -> None:
    """Run an operation of a stack that is made here and show it as short lines. Raises Trouble with pulumi's exit code."""
    log = log_path(f"pulumi-{what}")
    cancelled = threading.Event()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*words, "--yes", "--json", "--non-interactive", "--color", "never"],
            env=session.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # A group of its own: the terminal's Ctrl-C reaches us alone, and we hand it on once. A second
            # one would make pulumi drop what it is in the middle of.
            process_group=0,
        )

        def cancel(*_: Any) -> None:
            if not cancelled.is_set():
                cancelled.set()
                step.line("Ctrl-C: pulumi finishes what it has begun, then stops; please wait")
                process.send_signal(signal.SIGINT)

        with _handling(cancel):
            narrator = Narrator(step.line, stack=session.stack, removing_all=words[1] == "destroy")
            _listen(process, narrator, file)
            code = process.wait()
    restarts.remember(restarts.path_of(session.stack), narrator.away.seconds)
    if cancelled.is_set() and code:
        raise Cancelled(
            f"the {what} was stopped by Ctrl-C; run make {what} STACK={session.stack} to go on from there",
            code,
        )
    if code:
        reason = "\n       ".join(narrator.errors) or last_line(log)
        raise Trouble(f"pulumi {what} failed: {reason}\n       the log is {log}", code)
    step.result(summary(narrator.changes))


def _listen(process: subprocess.Popen[str], narrator: Narrator, log: IO[str]) -> None:
    """Read both streams to their ends; the main thread stays free to handle signals."""
    lines: queue.Queue[tuple[str, str] | None] = queue.Queue()

    def pump(name: str, stream: IO[str]) -> None:
        for line in stream:
            lines.put((name, line.rstrip("\n")))
        lines.put(None)

    streams = [(name, s) for name, s in (("out", process.stdout), ("err", process.stderr)) if s]
    for name, stream in streams:
        threading.Thread(target=pump, args=(name, stream), daemon=True).start()
    open_streams = len(streams)
    while open_streams:
        try:
            item = lines.get(timeout=1)
        except queue.Empty:
            narrator.tick()
            continue
        if item is None:
            open_streams -= 1
        else:
            _hear(narrator, *item, log)


def _hear(narrator: Narrator, stream: str, line: str, log: IO[str]) -> None:
    try:
        event = json.loads(line) if stream == "out" else None
    except json.JSONDecodeError:
        event = None
    if not isinstance(event, dict):
        if line:
            log.write(f"{line}\n")
            if line.startswith("error: "):
                narrator.errors.append(line.removeprefix("error: "))
        return
    narrator.hear(event)
    # Only what people read: events also carry every property, and debug lines.
    diagnostic = event.get("diagnosticEvent") or {}
    if diagnostic.get("severity") not in (None, "debug"):
        log.write(f"{diagnostic.get('prefix', '')}{str(diagnostic.get('message', '')).strip()}\n")
    for name in ("resourcePreEvent", "resOutputsEvent", "resOpFailedEvent"):
        if step := (event.get(name) or {}).get("metadata"):
            log.write(f"{name} {step.get('op')} {step.get('urn')}\n")


@contextmanager
def _handling(handler: Any) -> Any:
    """Handle Ctrl-C, and a polite request to end, while pulumi runs."""

    def handle(number: int, frame: FrameType | None) -> None:
        handler(number, frame)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def outputs(session: Session) -> dict[str, Any]:
    """The stack's outputs; empty before the first `up`."""
    said = answer(session.words("stack", "output", "--json"), environment=session.environment)
    if said.returncode:
        raise Trouble(f"the outputs of stack {session.stack} cannot be read: {complaint(said.stderr)}")
    return json.loads(said.stdout or "{}")
