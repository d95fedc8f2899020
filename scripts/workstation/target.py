"""Where a stack's services are, for the commands that talk to them: this machine, or a host behind ssh."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from scripts.workstation import engine, prepare, run_pulumi, ssh
from scripts.workstation.engine import Engine
from scripts.workstation.session import Session, complaint
from scripts.workstation.shell import answer, as_root, in_front, read_as_root, require_program
from scripts.workstation.ssh import Ssh
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble

# What a shell, and sudo, say of a program that is not there.
NOT_FOUND = 127


class Target(Protocol):
    """A host of a platform."""

    @property
    def stack(self) -> str:
        """The stack's name."""
        ...

    @property
    def srv_root(self) -> Path:
        """The platform's folder there."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment in which `line` is run."""
        ...

    def line(self, command: Sequence[str], *, terminal: bool = False, log: Path | None = None) -> list[str]:
        """The words that, run on this workstation, run a docker command there."""
        ...

    def docker(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Ask the engine there something."""
        ...

    def run_as_root(self, command: Sequence[str]) -> int:
        """Run a command as root there, with our own input and output."""
        ...

    def read_as_root(self, path: Path) -> str | None:
        """The text of a file there, or None where there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Here:
    """This machine."""

    stack: str
    srv_root: Path
    engine: Engine

    @property
    def environment(self) -> Mapping[str, str]:
        """As `Target` says."""
        return self.engine.environment

    def line(self, command: Sequence[str], *, terminal: bool = False, log: Path | None = None) -> list[str]:  # noqa: ARG002
        """As `Target` says: docker's own words do, on a terminal and elsewhere."""
        return list(command)

    def docker(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """As `Target` says."""
        return self.engine.docker(*words)

    def run_as_root(self, command: Sequence[str]) -> int:
        """As `Target` says."""
        # sudo drops the environment, so the engine is named on the command line.
        return in_front(as_root(["env", f"DOCKER_HOST={self.engine.socket}", *command]))

    def read_as_root(self, path: Path) -> str | None:
        """As `Target` says."""
        return read_as_root(path)


@dataclass(frozen=True, kw_only=True)
class There:
    """A host behind ssh, whose user may use Docker and `sudo -n`."""

    stack: str
    srv_root: Path
    ssh: Ssh
    # What the last `up` has written down.
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def line(self, command: Sequence[str], *, terminal: bool = False, log: Path | None = None) -> list[str]:
        """As `Target` says."""
        return self.ssh.line(command, terminal=terminal, log=log)

    def docker(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """As `Target` says."""
        return self.ssh.ask(["docker", *words])

    def run_as_root(self, command: Sequence[str]) -> int:
        """As `Target` says."""
        return self.ssh.run(["sudo", "-n", *command])

    def read_as_root(self, path: Path) -> str | None:
        """As `Target` says."""
        if self.ssh.ask(["sudo", "-n", "test", "-e", str(path)]).returncode:
            return None
        read = self.ssh.ask(["sudo", "-n", "cat", "--", str(path)])
        if read.returncode:
            raise Trouble(f"{path} on the host of stack {self.stack} cannot be read: {read.stderr.strip()}")
        return read.stdout


def require_container(target: Target, name: str) -> None:
    """Raises Trouble unless a container runs."""
    said = target.docker("container", "inspect", "--format", "{{.State.Status}}", name)
    state = said.stdout.strip() if said.returncode == 0 else "not there"
    if state != "running":
        raise Trouble(
            f"the container {name} is {state}; run make up{prepare.suffix()}, then the same command again"
        )


def run_docker(target: Target, command: Sequence[str], *, terminal: bool) -> int:
    """Run a docker command with our own input and output. Raises Trouble where ssh itself fails."""
    with ssh.own_messages() as log:
        line = target.line(command, terminal=terminal, log=log)
        return ssh.checked(in_front(line, environment=target.environment), log, target.stack)


def run_script(target: Target, name: str, arguments: Sequence[str]) -> int:
    """Run an installed script of the platform as root, with our own input and output. Raises Trouble where it is not there."""
    code = target.run_as_root(script_words(target, name, arguments))
    if code == NOT_FOUND:
        raise not_up_yet(target, name)
    return code


def script_words(target: Target, name: str, arguments: Sequence[str]) -> list[str]:
    """A command that runs an installed script there, or ends with NOT_FOUND."""
    script = target.srv_root / "apps" / name
    return ["sh", "-c", f'[ -x "$0" ] || exit {NOT_FOUND}; exec "$0" "$@"', str(script), *arguments]


def not_up_yet(target: Target, name: str) -> Trouble:
    """What there is to say of a host without an installed script."""
    return Trouble(
        f"{target.srv_root / 'apps' / name} is not there, so the platform is not up yet; run make up STACK={target.stack} first"
    )


def find() -> Target:
    """The selected stack's. Raises Trouble where it has none yet."""
    own = prepare.own_stack()
    if own is not None and own.on_this_machine:
        return _on_this_machine(own)
    session = prepare.session(own)
    return of_outputs(session, run_pulumi.outputs(session))


def of_outputs(session: Session, outputs: Mapping[str, Any]) -> Target:
    """The host that a stack's outputs name."""
    if "srvRoot" not in outputs:
        raise Trouble(
            f"stack {session.stack} has not been brought up yet; run make up STACK={session.stack} first"
        )
    srv_root = Path(str(outputs["srvRoot"]))
    if words := outputs.get("sshCommand"):
        require_program(str(words[0]), "openssh-client")
        way = Ssh(words=tuple(str(word) for word in words), stack=session.stack)
        return There(stack=session.stack, srv_root=srv_root, ssh=way, outputs=outputs)
    return Here(stack=session.stack, srv_root=srv_root, engine=Engine(socket=_socket(session)))


def _on_this_machine(own: OwnStack) -> Target:
    if not own.config.exists() or "srvRoot" not in own.config.settings():
        raise Trouble(f"the {own.name} stack has not been brought up yet; run make up first")
    socket = prepare.recorded_socket(own) or engine.require_local(engine.current_socket())
    return Here(stack=own.name, srv_root=Path(own.config.settings()["srvRoot"]), engine=Engine(socket=socket))


def _socket(session: Session) -> str:
    """The engine of a stack of the user's own whose host is this machine."""
    said = answer(session.words("config", "get", "host"), environment=session.environment)
    if said.returncode:
        raise Trouble(f"the host of stack {session.stack} cannot be read: {complaint(said.stderr)}")
    return json.loads(said.stdout).get("socket", engine.DEFAULT_SOCKET)
