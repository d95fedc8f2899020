"""`make redis-cli`: redis-cli as admin inside redis-cache.

The password is typed for the operator at redis-cli's own masked prompt, so it is in no argument and no environment.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Mapping

from scripts.workstation import env_file, ssh, target
from scripts.workstation.target import Target
from scripts.workstation.trouble import Trouble, command

PROMPT = b"Please input password:"
CURSOR_QUERY = b"\x1b[6n"
RIGHT_EDGE_OR_QUERY = re.compile(rb"\x1b\[999C|\x1b\[6n")


class PasswordTyper:
    """Answers the first prompt and hides all that is shown until that line is over.

    An exec session has no size at its very start, so redis-cli may first ask the terminal where its cursor is, at the
    left edge and then at the right one. That is answered here too: the terminal's keys are not heard until `over`.
    """

    def __init__(self, password: str, columns: int = 80) -> None:
        self._password = password.encode() + b"\r"
        self._columns = columns
        self._seen = b""
        self._at_right_edge = False
        self._typed = False
        self.over = False

    def hear(self, data: bytes) -> tuple[bytes, bytes]:
        """What to type, and what to show, upon what redis-cli wrote."""
        if self.over:
            return b"", data
        typed = self._answer_queries(data)
        self._seen += data.replace(CURSOR_QUERY, b"")
        if self._typed:
            _, newline, rest = self._seen.partition(b"\n")
            self.over = bool(newline)
            return typed, rest
        before, found, after = self._seen.partition(PROMPT)
        if not found:
            # Docker's complaint, say; only what may be the prompt's beginning waits.
            held = _overlap(self._seen, PROMPT)
            shown, self._seen = self._seen[: len(self._seen) - held], self._seen[len(self._seen) - held :]
            return typed, shown
        self._typed, self._seen = True, after
        return typed + self._password, before

    def _answer_queries(self, data: bytes) -> bytes:
        answers = b""
        for part in RIGHT_EDGE_OR_QUERY.findall(data):
            if part != CURSOR_QUERY:
                self._at_right_edge = True
            else:
                answers += b"\x1b[1;%dR" % (self._columns if self._at_right_edge else 1)
        return answers


def _overlap(text: bytes, start: bytes) -> int:
    """How many of the last bytes of `text` are the first of `start`."""
    return next((n for n in range(min(len(text), len(start)), 0, -1) if text.endswith(start[:n])), 0)


def words(arguments: list[str], *, terminal: bool) -> list[str]:
    """The docker command."""
    options = ["--interactive", *(["--tty"] if terminal else [])]
    return [
        "docker",
        "exec",
        *options,
        "redis-cache",
        "redis-cli",
        "--user",
        "admin",
        "--askpass",
        *arguments,
    ]


def main() -> int:
    """A terminal, or commands as arguments or on standard input."""
    found = target.find()
    target.require_container(found, "redis-cache")
    password = admin_password(found)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with ssh.own_messages() as log:
        line = found.line(words(sys.argv[1:], terminal=terminal), terminal=terminal, log=log)
        if terminal:
            columns = os.get_terminal_size(sys.stdin.fileno()).columns or 80
            code = _on_terminal(line, PasswordTyper(password, columns), found.environment)
        else:
            code = _piped(line, password, found.environment)
        return ssh.checked(code, log, found.stack)


def admin_password(found: Target) -> str:
    """Redis's admin password, from the platform's secrets file."""
    path = found.srv_root / "config" / "platform.env"
    text = found.read_as_root(path)
    if text is None:
        raise Trouble(f"{path} is not there; run make up, which writes it")
    try:
        return env_file.parse(text)["REDIS_ADMIN_PASSWORD"]
    except KeyError:
        raise Trouble(f"{path} has no REDIS_ADMIN_PASSWORD; run make up, which writes it") from None
    except env_file.NotOurForm as fault:
        raise Trouble(f"{path} was edited by hand: {fault}; run make up, which writes it again") from None


def _on_terminal(line: list[str], typer: PasswordTyper, environment: Mapping[str, str]) -> int:
    """Run in a terminal of its own, of the same size."""
    size = _size_of(sys.stdin.fileno())
    child, master = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, size)
        os.execvpe(line[0], line, environment)  # noqa: S606
    before = termios.tcgetattr(sys.stdin)
    signal.signal(
        signal.SIGWINCH, lambda *_: fcntl.ioctl(master, termios.TIOCSWINSZ, _size_of(sys.stdin.fileno()))
    )
    try:
        tty.setraw(sys.stdin)
        _relay(master, typer)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)
        os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _size_of(terminal: int) -> bytes:
    size = os.get_terminal_size(terminal)
    return struct.pack("HHHH", size.lines or 24, size.columns or 80, 0, 0)


def _relay(master: int, typer: PasswordTyper) -> None:
    """Copy both ways until the program's side is closed."""
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    end_of_input = False
    while True:
        # What is typed ahead waits until the password is through, or it would become a part of it.
        sources = [master, stdin] if typer.over and not end_of_input else [master]
        ready, _, _ = select.select(sources, [], [])
        if master in ready:
            try:
                data = os.read(master, 65536)
            except OSError:  # how Linux says that nobody has the other side open any more
                data = b""
            if not data:
                return
            typed, shown = typer.hear(data)
            if typed:
                os.write(master, typed)
            os.write(stdout, shown)
        if stdin in ready:
            data = os.read(stdin, 65536)
            end_of_input = not data
            os.write(master, data)


def _piped(line: list[str], password: str, environment: Mapping[str, str]) -> int:
    process = subprocess.Popen(line, env=environment, stdin=subprocess.PIPE)

    pipe = process.stdin

    def feed() -> None:
        if pipe is None:
            return
        try:
            pipe.write(password.encode() + b"\n")
            pipe.flush()
            while not sys.stdin.isatty() and (data := os.read(sys.stdin.fileno(), 65536)):
                pipe.write(data)
                pipe.flush()
            pipe.close()
        except BrokenPipeError:
            return

    # Not waited for: with a command among the arguments, redis-cli ends without reading on.
    threading.Thread(target=feed, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    command(main)
