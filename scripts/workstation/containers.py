"""The platform's containers as Docker has them, against what the stack's state says."""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.workstation.engine import Engine
from scripts.workstation.preflight import CONTAINERS, MONITORS, NETWORK, is_our_network, is_ours
from scripts.workstation.trouble import Trouble

# As long as PostgreSQL may take for a clean end.
STOP_SECONDS = 120
# An interval of the health checks and their retries.
START_SECONDS = 60.0

# Asks the engine on which the platform is.
Docker = Callable[..., "subprocess.CompletedProcess[str]"]


def differing(known: Mapping[str, str], engine: Engine) -> list[str]:
    """Those that the state knows and that do not run under that id: removed by hand, made again by compose, or stopped."""
    present = {
        str(c.get("Name", "")).removeprefix("/"): str(c.get("Id"))
        for c in engine.inspect("container", list(known))
        if (c.get("State") or {}).get("Running")
    }
    return sorted(name for name, identity in known.items() if present.get(name) != identity)


def ours(engine: Engine, srv_root: Path) -> list[str]:
    """The platform's containers that exist, whoever made them."""
    return [
        str(c["Name"]).removeprefix("/")
        for c in engine.inspect("container", [*CONTAINERS, *MONITORS])
        if is_ours(c, srv_root)
    ]


def our_network(engine: Engine) -> bool:
    """Whether the platform's network exists."""
    return any(is_our_network(network) for network in engine.inspect("network", [NETWORK]))


def fault(docker: Docker, patience: float = START_SECONDS) -> str | None:
    """One sentence about the first of the platform's containers that is not well, or None. One that starts gets time for it."""
    deadline = time.monotonic() + patience
    for name in CONTAINERS:
        while (health := _health(docker, name)) == "starting" and time.monotonic() < deadline:
            time.sleep(1)
        if health != "healthy":
            said = f"; its last line is: {line}" if (line := _last_line(docker, name)) else ""
            return f"the container {name} is {health}{said}"
    return None


def _health(docker: Docker, name: str) -> str:
    """`healthy`, or what it is instead."""
    facts = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}"
    said = docker("container", "inspect", "--format", facts, name)
    status, _, health = said.stdout.strip().partition(" ")
    if said.returncode or not status:
        return "not there"
    return health if status == "running" else status


def _last_line(docker: Docker, name: str) -> str:
    said = docker("logs", "--tail", "1", name)
    lines = (said.stdout + said.stderr).strip().splitlines() if said.returncode == 0 else []
    return lines[-1].strip() if lines else ""


def remove(engine: Engine, names: list[str]) -> None:
    """Stop with time for a clean end, then remove; the data is in srvRoot and stays."""
    if not names:
        return
    engine.docker("stop", "--time", str(STOP_SECONDS), *names, timeout=STOP_SECONDS * len(names) + 60)
    said = engine.docker("rm", *names)
    if said.returncode:
        raise Trouble(f"docker could not remove {', '.join(names)}: {said.stderr.strip()}")


def remove_network(engine: Engine) -> None:
    """Remove the platform's network, which nothing of ours uses any more."""
    said = engine.docker("network", "rm", NETWORK)
    if said.returncode:
        raise Trouble(
            f"docker could not remove the network {NETWORK}: {said.stderr.strip()}; stop the containers that are still on it, "
            "and run the same command again"
        )
