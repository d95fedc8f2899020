"""The platform's containers as Docker has them, against what the stack's state says."""

from collections.abc import Mapping
from pathlib import Path

from scripts.workstation.engine import Engine
from scripts.workstation.preflight import CONTAINERS, NETWORK, is_our_network, is_ours
from scripts.workstation.trouble import Trouble

# As long as PostgreSQL may take for a clean end.
STOP_SECONDS = 120


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
        for c in engine.inspect("container", CONTAINERS)
        if is_ours(c, srv_root)
    ]


def our_network(engine: Engine) -> bool:
    """Whether the platform's network exists."""
    return any(is_our_network(network) for network in engine.inspect("network", [NETWORK]))


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
