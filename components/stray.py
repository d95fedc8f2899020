"""Making room for what is about to be created: the state may not know what compose, or a cut-off `up`, has made."""

import asyncio
import os
import subprocess
from collections.abc import Sequence

import pulumi

from components.hosts.base import SCRIPTS, Host


def stray_hook(name: str, host: Host, script: str, arguments: Sequence[str]) -> pulumi.ResourceHookBinding:
    """A hook that runs scripts/host/<script> on this machine, against the host's Docker, before a create.

    The script removes only what is ours; what it says of anybody else's ends the run.
    """

    async def remove_stray(_: pulumi.ResourceHookArgs) -> None:
        docker_host = await host.docker_host.future()
        # In a thread: a clean stop may take two minutes, in which the program has other resources to register.
        ran = await asyncio.to_thread(
            subprocess.run,
            ["sh", str(SCRIPTS / script), *arguments],
            env=_docker_environment(docker_host or ""),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise pulumi.RunError(ran.stderr.strip())

    return pulumi.ResourceHookBinding(
        before_create=[pulumi.ResourceHook(f"{name}-remove-stray", remove_stray)]
    )


def _docker_environment(docker_host: str) -> dict[str, str]:
    # What docker and ssh need, and no more: this process' own environment holds the stack's configuration.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SSH_AUTH_SOCK") if name in os.environ}
    return {**kept, "DOCKER_HOST": docker_host}
