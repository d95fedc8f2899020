"""What is in the way of a stack on this machine and is not ours: found before anything changes, named, and left alone."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from scripts.workstation import machine, secret_values, srv_root
from scripts.workstation.engine import Engine
from scripts.workstation.shell import read_as_root
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble

COMPOSE_PROJECT = "postgres-stack"
CONTAINERS = ("postgres-db", "redis-cache", "pgbouncer", "postgres-wal")
# Those that are there where monitoring is on.
MONITORS = (
    "node-exporter",
    "postgres-exporter",
    "pgbouncer-exporter",
    "redis-exporter",
    "prometheus",
    "grafana",
)
NETWORK = "central-data-platform"
DEFAULT_SUBNET = "172.28.0.0/24"
DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORTS = {"postgres": 5432, "redis": 6379, "pgbouncer": 6432}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the stack is about to take of this machine; `config` is the file in which that can be changed."""

    stack: str
    config: Path
    srv_root: Path
    subnet: IPv4Network
    address: str
    ports: Mapping[str, int]
    containers: Sequence[str] = CONTAINERS


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the machine has: `docker inspect` of containers and networks, routes, and who owns srvRoot."""

    containers: Sequence[Mapping[str, Any]] = ()
    networks: Sequence[Mapping[str, Any]] = ()
    routes: Sequence[tuple[str, IPv4Network]] = ()
    srv_root_owner: str | None = ""
    port_faults: Mapping[int, int] = field(default_factory=dict)
    listeners: Mapping[int, str] = field(default_factory=dict)


def wanted(settings: Mapping[str, Any], own: OwnStack) -> Wanted:
    """What the stack's settings ask for. Values that are no addresses are left to the program, which names them."""
    network = settings.get("network") or {}
    try:
        subnet = IPv4Network(network.get("subnet", DEFAULT_SUBNET))
    except ValueError:
        subnet = IPv4Network(DEFAULT_SUBNET)
    ports = {name: (settings.get(name) or {}).get("port", port) for name, port in DEFAULT_PORTS.items()}
    return Wanted(
        stack=own.name,
        config=own.config.path,
        srv_root=Path(settings["srvRoot"]),
        subnet=subnet,
        address=str(network.get("publishAddress", DEFAULT_ADDRESS)),
        ports={name: port for name, port in ports.items() if isinstance(port, int) and 0 < port < 65536},
        containers=(
            *CONTAINERS,
            *(MONITORS if (settings.get("monitoring") or {}).get("enabled") is True else ()),
        ),
    )


def is_ours(container: Mapping[str, Any], srv_root: Path) -> bool:
    """Whether a container bears both labels that say it is of this srvRoot's platform."""
    labels = container.get("Config", {}).get("Labels") or {}
    return (
        labels.get("com.docker.compose.project") == COMPOSE_PROJECT
        and labels.get("com.docker.compose.project.working_dir") == f"{srv_root}/apps/{COMPOSE_PROJECT}"
    )


def is_our_network(network: Mapping[str, Any]) -> bool:
    """Whether a network is the platform's; compose marks networks with the project alone."""
    labels = network.get("Labels") or {}
    return network.get("Name") == NETWORK and labels.get("com.docker.compose.project") == COMPOSE_PROJECT


def faults(plan: Wanted, found: Found) -> list[str]:
    """One sentence for each thing in the way."""
    return [
        *_folder_faults(plan, found),
        *_container_faults(plan, found),
        *_network_faults(plan, found),
        *_port_faults(plan, found),
    ]


def _folder_faults(plan: Wanted, found: Found) -> list[str]:
    if found.srv_root_owner is None:
        return [
            f"{plan.srv_root} holds files that are not the platform's; move them, or set central-data-platform:srvRoot in {plan.config} "
            "to an empty folder"
        ]
    if found.srv_root_owner not in ("", plan.stack):
        return [
            f"{plan.srv_root} belongs to stack '{found.srv_root_owner}'; set central-data-platform:srvRoot in {plan.config} to a folder "
            f"of the {plan.stack} stack's own"
        ]
    return []


def _container_faults(plan: Wanted, found: Found) -> list[str]:
    return [
        f"a container named {_name(container)} is there that is not of the platform in {plan.srv_root}; rename it "
        f"(docker rename {_name(container)} …) or remove it"
        for container in found.containers
        if _name(container) in plan.containers and not is_ours(container, plan.srv_root)
    ]


def _network_faults(plan: Wanted, found: Found) -> list[str]:
    sentences: list[str] = []
    bridges: set[str] = set()
    for network in found.networks:
        name, ours = str(network.get("Name")), is_our_network(network)
        bridges.add(_bridge(network))
        if name == NETWORK and not ours:
            sentences.append(
                f"a Docker network named {NETWORK} is there that is not the platform's; remove it (docker network rm {NETWORK})"
            )
        if ours:
            continue
        sentences += [
            f"the subnet {plan.subnet} overlaps Docker's network {name} ({subnet}); set subnet in central-data-platform:network of "
            f"{plan.config} to a free one"
            for subnet in _subnets(network)
            if subnet.overlaps(plan.subnet)
        ]
    sentences += [
        f"the subnet {plan.subnet} overlaps a route of this machine ({destination} on {interface}); set subnet in "
        f"central-data-platform:network of {plan.config} to a free one"
        for interface, destination in found.routes
        if interface not in bridges and destination.overlaps(plan.subnet)
    ]
    return sentences


def _port_faults(plan: Wanted, found: Found) -> list[str]:
    sentences: list[str] = []
    for service, port in plan.ports.items():
        fault = found.port_faults.get(port)
        if fault is None or any(
            is_ours(c, plan.srv_root) and port in _published(c) for c in found.containers
        ):
            continue
        if fault == errno.EADDRNOTAVAIL:
            return [
                f"{plan.address} is no address of this machine; set publishAddress in central-data-platform:network of {plan.config} "
                "to one that is, such as 127.0.0.1"
            ]
        holder = next((f"container {_name(c)}" for c in found.containers if port in _published(c)), None)
        holder = holder or found.listeners.get(port) or "another program"
        sentences.append(
            f"port {port} on {plan.address}, which {service} needs, is taken by {holder}; stop it, or set port in "
            f"central-data-platform:{service} of {plan.config} to a free one"
        )
    return sentences


def look(plan: Wanted, engine: Engine) -> Found:
    """Ask the engine and this machine; nothing is changed."""
    containers = engine.inspect(
        "container", engine.docker("ps", "--all", "--quiet", "--no-trunc").stdout.split()
    )
    networks = engine.inspect(
        "network", engine.docker("network", "ls", "--quiet", "--no-trunc").stdout.split()
    )
    port_faults = {
        port: fault
        for port in plan.ports.values()
        if (fault := machine.listening_fault(plan.address, port)) is not None
    }
    return Found(
        containers=containers,
        networks=networks,
        routes=machine.routes(),
        srv_root_owner=srv_root.owner_of(plan.srv_root),
        port_faults=port_faults,
        listeners={port: name for port in port_faults if (name := machine.listener(port))},
    )


def check(settings: Mapping[str, Any], engine: Engine, own: OwnStack) -> None:
    """Raises Trouble with a sentence for each thing in the way."""
    plan = wanted(settings, own)
    sentences = faults(plan, look(plan, engine))
    if sentences:
        raise Trouble("\n       ".join(sentences))


def check_secrets(folder: Path, own: OwnStack) -> None:
    """Raises Trouble where a platform lives in srvRoot whose secrets this stack does not know yet."""
    if any(own.config.has_secret(key) for key in secret_values.LENGTHS if key != "saltKey"):
        return
    if read_as_root(folder / "config" / "platform.env") is not None:
        raise Trouble(
            f"{folder} holds a platform whose secrets this new stack does not know; run make import-secrets first, then make up"
        )


def _name(container: Mapping[str, Any]) -> str:
    return str(container.get("Name", "")).removeprefix("/")


def _bridge(network: Mapping[str, Any]) -> str:
    named = (network.get("Options") or {}).get("com.docker.network.bridge.name")
    return str(named or f"br-{str(network.get('Id'))[:12]}")


def _subnets(network: Mapping[str, Any]) -> list[IPv4Network]:
    found: list[IPv4Network] = []
    for config in (network.get("IPAM") or {}).get("Config") or []:
        try:
            found.append(IPv4Network(config.get("Subnet", ""), strict=False))
        except ValueError:
            continue  # IPv6, or none
    return found


def _published(container: Mapping[str, Any]) -> set[int]:
    bindings = (container.get("HostConfig", {}).get("PortBindings") or {}).values()
    running = container.get("State", {}).get("Running")
    return {int(b["HostPort"]) for group in bindings if running for b in group or [] if b.get("HostPort")}
