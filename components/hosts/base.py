"""The contract between a host and the services on it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pulumi
import pulumi_command as command
import pulumi_docker as docker

SCRIPTS = Path(__file__).parents[2] / "scripts" / "host"

HostCommand = command.local.Command | command.remote.Command


class Host(Protocol):
    """Where containers run and files live."""

    provider: docker.Provider
    # Address of the Docker engine, as DOCKER_HOST wants it.
    docker_host: pulumi.Output[str]
    # The engine's own word for it: amd64 or arm64.
    architecture: pulumi.Output[str]

    def run(
        self,
        name: str,
        script: str,
        *arguments: pulumi.Input[str],
        stdin: pulumi.Input[str] | None = None,
        secret: bool = False,
        triggers: Sequence[pulumi.Input[str]] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> HostCommand:
        """Run scripts/host/<script> as root once, and again whenever its text, arguments, stdin or triggers change.

        `secret` keeps what the script prints out of the engine's log and encrypted in the state. Nothing is run on a
        delete: what a script has made outlives its resource.
        """
        ...


def script_text(script: str) -> str:
    """The text of a file of scripts/host."""
    return (SCRIPTS / script).read_text(encoding="utf-8")


def command_line(script: str, arguments: Sequence[str], *, before: Sequence[str] = ()) -> str:
    """One line for a shell that runs the script's own text: a host needs no copy of it, and a new text is a new command."""
    return shlex.join([*before, "sh", "-c", script_text(script), script, *arguments])
