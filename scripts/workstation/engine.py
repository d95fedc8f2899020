"""The Docker engine: the one in use, or Debian's package on a bare machine where we are root."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.workstation.paths import ROOT
from scripts.workstation.progress import Step
from scripts.workstation.shell import answer, bare_debian, logged
from scripts.workstation.trouble import Trouble

DEFAULT_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine on this machine, by its unix:// address."""

    socket: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which docker commands reach this engine and no other."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_CONTEXT")}
        return {**kept, "DOCKER_HOST": self.socket}

    def docker(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Ask the engine something."""
        return answer(["docker", *words], environment=self.environment, timeout=timeout)

    def inspect(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """What `docker <kind> inspect` says of those that exist."""
        if not names:
            return []
        said = self.docker(kind, "inspect", *names)
        try:
            return json.loads(said.stdout or "[]")
        except json.JSONDecodeError:
            raise Trouble(f"docker {kind} inspect did not answer in JSON: {said.stderr.strip()}") from None


def current_socket() -> str:
    """The address that the docker client uses: DOCKER_HOST, else its context's, else the default."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    said = answer(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"])
    return said.stdout.strip() or DEFAULT_SOCKET


def require_local(socket: str) -> str:
    """Raises Trouble for an engine that is not on this machine."""
    if not socket.startswith("unix:///"):
        raise Trouble(
            f"the Docker engine in use is {socket}, and this stack needs one on this machine (unix://…); "
            "unset DOCKER_HOST, or choose another context with: docker context use default"
        )
    return socket


def find_or_start(step: Step, recorded: str | None) -> Engine:
    """An engine that answers. `recorded` is the one on which the stack is, if it is anywhere yet."""
    current = require_local(current_socket())
    if recorded and recorded != current and os.environ.get("DOCKER_HOST"):
        raise Trouble(
            f"this stack lives in the Docker engine at {recorded}, and DOCKER_HOST names {current}; unset DOCKER_HOST, "
            "or run make destroy with the first before using the second"
        )
    engine = Engine(socket=recorded or current)
    fault = _fault(engine)
    if fault is None:
        step.result(_describe(engine))
        return engine
    if not (engine.socket == DEFAULT_SOCKET and bare_debian()):
        raise Trouble(fault)
    step.expect("starting Debian's docker.io (about a minute the first time)")
    script = ROOT / "sandbox" / "docker" / "engine.sh"
    for action in ("install", "start"):
        logged(
            ["sh", str(script), action],
            log=f"engine-{action}",
            failure=f"the Docker engine could not be set up ({action})",
        )
    if fault := _fault(engine):
        raise Trouble(fault)
    step.result(f"{_describe(engine)}, started by sandbox/docker/engine.sh")
    return engine


def _describe(engine: Engine) -> str:
    return f"{engine.docker('version', '--format', '{{.Server.Version}}').stdout.strip()} at {engine.socket}"


def _fault(engine: Engine) -> str | None:
    """Why the engine cannot be used, or None."""
    if shutil.which("docker") is None:
        return "docker is not on PATH; install Docker Engine 20.10 or newer, start it, and run the same command again"
    said = engine.docker("version", "--format", "{{.Server.Version}}", timeout=20)
    if said.returncode == 0:
        return None
    if "permission denied" in said.stderr.lower():
        return (
            f"this user may not use the Docker engine at {engine.socket}; add the user to the group docker and log in again, "
            "or run as root"
        )
    return f"the Docker engine at {engine.socket} does not answer; start it (systemctl start docker, or Docker Desktop)"
