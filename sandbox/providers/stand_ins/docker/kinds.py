"""What the schema of pulumi-docker says about each resource, beyond names and types.

Names and types come from the SDK package (../inputs.py). Defaults, what the engine chooses and what can
change in place are nowhere in the SDK; they follow the provider's source (see ../../README.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sandbox.providers.stand_ins.comparing import Rules

RULES = Rules(ordered=frozenset({"command", "entrypoints", "tests"}), computed=frozenset({"external"}))


@dataclass(frozen=True)
class Kind:
    """One resource type."""

    arguments: str
    """Name of the SDK class with its inputs."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    nested_defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()
    """Inputs that the engine chooses when the program does not (Optional and Computed in the source)."""
    outputs: frozenset[str] = frozenset()
    """Properties that are never inputs."""
    in_place: frozenset[str] = frozenset()
    """Inputs that can change without a replacement."""
    refused: frozenset[str] = frozenset()
    """Inputs of the schema that this stand-in does not implement."""
    auto_named: bool = True
    delete_before_replace: bool = False

    @cached_property
    def argument_class(self) -> type:
        """The SDK class, imported only when there is something to check."""
        import pulumi_docker

        return getattr(pulumi_docker, self.arguments)


CONTAINER = Kind(
    arguments="ContainerArgs",
    defaults={
        "attach": False,
        "containerReadRefreshTimeoutMilliseconds": 15000,
        "logs": False,
        "mustRun": True,
        "networkMode": "bridge",
        "readOnly": False,
        "removeVolumes": True,
        "restart": "no",
        "rm": False,
        "start": True,
        "stdinOpen": False,
        "tty": False,
        "wait": False,
        "waitTimeout": 60,
    },
    nested_defaults={
        "healthcheck": {
            "interval": "0s",
            "retries": 0,
            "startInterval": "0s",
            "startPeriod": "0s",
            "timeout": "0s",
        },
        "ports": {"ip": "0.0.0.0", "protocol": "tcp"},  # noqa: S104 - the published default
        "uploads": {"executable": False},
    },
    chosen=frozenset(
        {
            "command",
            "entrypoints",
            "envs",
            "healthcheck",
            "hostname",
            "init",
            "ipcMode",
            "labels",
            "logDriver",
            "runtime",
            "securityOpts",
            "shmSize",
            "stopSignal",
            "stopTimeout",
        }
    ),
    outputs=frozenset({"bridge", "containerLogs", "exitCode", "networkDatas"}),
    in_place=frozenset(
        {
            "attach",
            "containerReadRefreshTimeoutMilliseconds",
            "cpuPeriod",
            "cpuQuota",
            "cpuSet",
            "cpuShares",
            "destroyGraceSeconds",
            "deviceReadBps",
            "deviceReadIops",
            "deviceWriteBps",
            "deviceWriteIops",
            "healthcheck",
            "init",
            "logs",
            "maxRetryCount",
            "memory",
            "memoryReservation",
            "memorySwap",
            "mustRun",
            "removeVolumes",
            "restart",
            "rm",
            "start",
            "tmpfs",
            "wait",
            "waitTimeout",
        }
    ),
    refused=frozenset({"gpus"}),
    delete_before_replace=True,
)

NETWORK = Kind(
    arguments="NetworkArgs",
    defaults={"ipamDriver": "default"},
    chosen=frozenset({"driver", "internal", "ipamConfigs", "ipamOptions", "options"}),
    outputs=frozenset({"scope"}),
)

IMAGE = Kind(
    arguments="RemoteImageArgs",
    outputs=frozenset({"imageId", "repoDigest"}),
    in_place=frozenset({"build", "forceRemove", "keepLocally"}),
    refused=frozenset({"build"}),
    auto_named=False,
)

VOLUME = Kind(
    arguments="VolumeArgs",
    chosen=frozenset({"driver"}),
    outputs=frozenset({"mountpoint"}),
    refused=frozenset({"cluster"}),
)
