"""One description of a container, from which both its Pulumi resource and its place in the compose file are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from components.settings import NetworkSettings

COMPOSE_PROJECT = "postgres-stack"
NETWORK = "central-data-platform"

# Docker's json-file driver keeps this much of a container's output.
LOG_OPTIONS = {"max-file": "5", "max-size": "10m"}
SECURITY_OPTIONS = ("no-new-privileges:true",)

# Durations are compared as text by the provider: these are in Go's canonical form.
HEALTH_INTERVAL = "5s"
HEALTH_TIMEOUT = "5s"
HEALTH_RETRIES = 6


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A directory of the host in the container: never a single file, which would keep its old inode after a rename."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a container is. Sizes in MiB, times in seconds."""

    name: str
    command: Sequence[str]
    health_test: Sequence[str]
    health_start_period: str
    mounts: Sequence[Mount]
    memory: int
    stop_signal: str
    stop_grace_seconds: int
    # Address and port on the host, port in the container; without it nobody connects to this service.
    publish: tuple[str, int, int] | None = None
    entrypoint: Sequence[str] = ()
    user: str | None = None
    shm_size: int | None = None
    # All others are dropped.
    capabilities: Sequence[str] = ()
    labels: tuple[tuple[str, str], ...] = ()
    # Nothing secret: anybody who may use Docker reads it.
    environment: tuple[tuple[str, str], ...] = ()
    security_options: Sequence[str] = SECURITY_OPTIONS
    # Services that must be healthy before this one starts.
    after: Sequence[str] = ()
    # Its own address on the network; without one, Docker gives it any.
    address: str | None = None


def published(service: Service) -> list[tuple[str, int, int]]:
    """The service's ports: one, or none."""
    return [service.publish] if service.publish else []


def compose_service(service: Service, image: str) -> dict[str, Any]:
    """The service as compose knows it."""
    text: dict[str, Any] = {
        "image": image,
        "container_name": service.name,
        "restart": "unless-stopped",
        "command": list(service.command),
        "networks": {NETWORK: {"ipv4_address": service.address}} if service.address else [NETWORK],
        "ports": [
            {
                "host_ip": address,
                "published": str(host_port),
                "target": container_port,
                "protocol": "tcp",
                "mode": "host",
            }
            for address, host_port, container_port in published(service)
        ],
        "volumes": [
            {"type": "bind", "source": m.source, "target": m.target, "read_only": m.read_only}
            for m in service.mounts
        ],
        "mem_limit": f"{service.memory}m",
        "memswap_limit": f"{service.memory}m",
        "stop_signal": service.stop_signal,
        "stop_grace_period": f"{service.stop_grace_seconds}s",
        "cap_drop": ["ALL"],
        "cap_add": [f"CAP_{c}" for c in service.capabilities],
        "security_opt": list(service.security_options),
        "healthcheck": {
            "test": list(service.health_test),
            "interval": HEALTH_INTERVAL,
            "timeout": HEALTH_TIMEOUT,
            "start_period": service.health_start_period,
            "retries": HEALTH_RETRIES,
        },
        "logging": {"driver": "json-file", "options": dict(LOG_OPTIONS)},
        "labels": dict(service.labels),
        "environment": dict(service.environment),
        "depends_on": {name: {"condition": "service_healthy"} for name in service.after},
        "entrypoint": list(service.entrypoint),
        "user": service.user,
        "shm_size": f"{service.shm_size}m" if service.shm_size else None,
    }
    return {key: value for key, value in text.items() if value not in (None, [], {})}


def compose_file(services: Sequence[tuple[Service, str]], network: NetworkSettings, *, srv_root: str) -> str:
    """docker-compose.yml. It interpolates nothing, so that no secret can reach an environment through it."""
    text = {
        "name": COMPOSE_PROJECT,
        "services": {service.name: compose_service(service, image) for service, image in services},
        "networks": {
            NETWORK: {
                "name": NETWORK,
                "driver": "bridge",
                "ipam": {
                    "config": [
                        {
                            "subnet": str(network.subnet),
                            "gateway": str(network.gateway_address),
                            "ip_range": str(network.container_range),
                        }
                    ]
                },
            }
        },
    }
    return (
        "# Made by Pulumi: the containers that it runs, for break-glass.\n"
        f"# sudo docker compose --env-file {srv_root}/config/platform.env up -d\n" + _yaml(text)
    )


def service_text(service: Service, image: str) -> str:
    """A compose file of this service alone: its hash must not change when another service does."""
    alone = {k: v for k, v in compose_service(service, image).items() if k != "depends_on"}
    return _yaml(
        {"name": COMPOSE_PROJECT, "services": {service.name: alone}, "networks": {NETWORK: {"name": NETWORK}}}
    )


def _yaml(value: Any) -> str:
    # compose reads $ as the start of a variable, and $$ as a dollar sign.
    return yaml.safe_dump(value, sort_keys=False, width=4096).replace("$", "$$")


def compose_labels(service: str, *, srv_root: str, image_id: str, config_hash: str) -> dict[str, str]:
    """The labels by which compose takes a container for its own (docker/compose, pkg/api/labels.go)."""
    folder = f"{srv_root}/apps/{COMPOSE_PROJECT}"
    return {
        "com.docker.compose.project": COMPOSE_PROJECT,
        "com.docker.compose.project.config_files": f"{folder}/docker-compose.yml",
        "com.docker.compose.project.environment_file": f"{srv_root}/config/platform.env",
        "com.docker.compose.project.working_dir": folder,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.image": image_id,
        "com.docker.compose.config-hash": config_hash,
    }
