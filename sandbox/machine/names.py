"""What the simulation's objects are called in the Docker engine."""

import re

from sandbox.machine.errors import MachineError

LABEL = "central-data-platform.simulated-oci"
INTERNET = "cdp-simulated-internet"
INTERNET_CIDR = "198.51.100.0/24"


def machine(instance_id: str) -> str:
    """The container of an instance."""
    return f"cdp-machine-{short(instance_id)}"


def network(network_id: str) -> str:
    """The bridge network of a subnet."""
    return f"cdp-subnet-{short(network_id)}"


def short(identifier: str) -> str:
    """The last 12 characters of an id: the others say only of what kind it is."""
    end = identifier[-12:]
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", end):
        raise MachineError(f"{identifier!r} is no id: its last 12 characters are not all letters and digits")
    return end
