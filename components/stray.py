"""Making room for what is about to be created: the state may not know what compose, or a cut-off `up`, has made."""

import asyncio
import os
import subprocess

import pulumi

from components.hosts.base import Host


def stray_hook(name: str, host: Host, script: str, *arguments: str) -> pulumi.ResourceHookBinding:
    """A hook that runs scripts/host/<script> on the host before a create.

    The script removes only what is ours; what it says of anybody else's ends the run.
    """
    words = host.words(script, *arguments)

    async def remove_stray(_: pulumi.ResourceHookArgs) -> None:
        # In a thread: a clean stop may take two minutes, in which the program has other resources to register.
        ran = await asyncio.to_thread(
            subprocess.run,
            await words.future() or [],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise pulumi.RunError(ran.stderr.strip())

    return pulumi.ResourceHookBinding(
        before_create=[pulumi.ResourceHook(f"{name}-remove-stray", remove_stray)]
    )


def _environment() -> dict[str, str]:
    # What docker and ssh need, and no more: this process' own environment holds the stack's configuration.
    return {name: os.environ[name] for name in ("PATH", "HOME", "SSH_AUTH_SOCK") if name in os.environ}
