"""The docker client, on the engine that runs the simulated machines."""

import os
import subprocess
from typing import Any

from sandbox.machine.errors import MachineError

_ANSWER = "Error response from daemon: "


class Docker:
    """One Docker engine."""

    def __init__(self, host: str | None) -> None:
        """`host` is as in DOCKER_HOST; None is the client's own default."""
        self.environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A docker command that may fail."""
        return run("docker", *words, environment=self.environment)

    def output(self, *words: str, task: str) -> str:
        """What a docker command prints; `task` is what could not be done when it fails."""
        result = self.attempt(*words)
        if result.returncode:
            raise MachineError(f"{task}: {reason(result)}")
        return result.stdout.strip()

    def labelled(self, kind: str, label: str) -> list[str]:
        """The names of all containers or networks that carry a label."""
        scope = ["ps", "--all"] if kind == "container" else [kind, "ls"]
        field = "{{.Names}}" if kind == "container" else "{{.Name}}"
        words = [*scope, "--filter", f"label={label}", "--format", field]
        return self.output(*words, task=f"the {kind}s of the simulation cannot be listed").split()


def run(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of this workstation, with what it prints kept."""
    try:
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise MachineError(f"this workstation has no program {words[0]}: install it") from error


def reason(result: subprocess.CompletedProcess[Any]) -> str:
    """Why a program failed: what the Docker engine answered, else the last line that was written."""
    lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    answers = [line.partition(_ANSWER)[2] for line in lines if _ANSWER in line]
    return (answers or lines or [f"exit code {result.returncode}"])[-1]
