"""A stack's host over ssh, by the words that the stack's output `sshCommand` holds."""

import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.workstation.shell import answer, in_front, require_program
from scripts.workstation.trouble import Trouble

# How ssh ends where ssh itself has failed (ssh(1), EXIT STATUS).
OWN_FAILURE = 255
# The options say ConnectTimeout=15; a jump host has its own.
CONNECT_SECONDS = 45

_KEY_CHANGED = re.compile(
    r"host key verification failed|identification has changed|host key is known", re.IGNORECASE
)
_KEY_REFUSED = re.compile(r"permission denied|too many authentication failures", re.IGNORECASE)
_NO_ANSWER = re.compile(
    r"connection (refused|timed out|reset|closed)|timed out|no route to host|network is unreachable"
    r"|could not resolve|not responding|broken pipe|banner exchange",
    re.IGNORECASE,
)


def fault(message: str, stack: str) -> str:
    """One sentence for what ssh has said of its own failure."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    said = f" ({lines[-1].rstrip('.')})" if lines else ""
    if _KEY_CHANGED.search(message):
        return (
            f"the host shows another host key than the one this stack has pinned{said}; if the machine was made again, run "
            f"make trust-host STACK={stack}, if not, somebody may be in between"
        )
    if _KEY_REFUSED.search(message):
        return (
            f"the host refuses the key{said}; load the key of host.sshPublicKey into the agent (ssh-add), or name its file in host.sshKeyFile "
            f"of stack {stack}"
        )
    if not lines or _NO_ANSWER.search(message):
        return (
            f"the host does not answer over ssh{said}; see that it runs and that your address is in host.sshCidrs; if it is lost, "
            f"run make recover-host STACK={stack}"
        )
    return f"ssh failed{said}; correct what it names and run the same command again"


def require() -> None:
    """Have an ssh that can pin a host key without a file. Raises Trouble for an older one, before a machine is made for it."""
    require_program("ssh", "openssh-client")
    if answer(["ssh", "-F", "none", "-G", "-o", "KnownHostsCommand=/bin/true", "host"]).returncode:
        version = answer(["ssh", "-V"]).stderr.strip() or "of an unknown version"
        raise Trouble(
            f"ssh on this workstation ({version}) does not know KnownHostsCommand; install OpenSSH 8.5 or newer"
        )


@dataclass(frozen=True, kw_only=True)
class Ssh:
    """`words` is the command up to and including user@host."""

    words: Sequence[str]
    stack: str

    def line(self, command: Sequence[str], *, terminal: bool = False, log: Path | None = None) -> list[str]:
        """The words that run a command there; with `log`, ssh's own messages go to that file."""
        options = [*(["-E", str(log)] if log else []), *(["-t"] if terminal else [])]
        return [*self.options(*options), shlex.join(command)]

    def options(self, *options: str) -> list[str]:
        """The words with further options of ssh, which come before the host."""
        return [self.words[0], *options, *self.words[1:]]

    def ask(
        self,
        command: Sequence[str],
        *,
        timeout: float = CONNECT_SECONDS,
        connect_seconds: int | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a short question there. Raises Trouble where ssh itself fails. `connect_seconds` is for who has less patience."""
        # Of an option that is said twice, ssh takes the first.
        hurry = ["-o", f"ConnectTimeout={connect_seconds}"] if connect_seconds else []
        said = answer([*self.options(*hurry), shlex.join(command)], timeout=timeout)
        if said.returncode == OWN_FAILURE:
            raise Trouble(fault(said.stderr, self.stack), OWN_FAILURE)
        if said.returncode == 127 and said.stderr == f"{self.words[0]} is not on PATH":
            raise Trouble(
                "ssh is not on PATH; install the OpenSSH client (Debian: apt install openssh-client)"
            )
        return said

    def run(self, command: Sequence[str], *, terminal: bool = False) -> int:
        """Run a command there with our own input and output. Raises Trouble where ssh itself fails."""
        with own_messages() as log:
            code = in_front(self.line(command, terminal=terminal, log=log))
            return checked(code, log, self.stack)


@contextmanager
def own_messages() -> Iterator[Path]:
    """A file for ssh's own messages, so that they are not mixed with the remote program's."""
    with tempfile.TemporaryDirectory(prefix="cdp-ssh.") as folder:
        yield Path(folder) / "messages"


def checked(code: int, log: Path, stack: str) -> int:
    """The remote program's exit code. Raises Trouble where it is ssh's own."""
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if code == OWN_FAILURE and said.strip():
        raise Trouble(fault(said, stack), OWN_FAILURE)
    return code
