"""What the schema of pulumi-docker says about each resource, beyond names and types.

It follows the provider's source (see ../../README.md).
"""

from functools import partial

from sandbox.providers.stand_ins.comparing import Rules
from sandbox.providers.stand_ins.kind import Kind

RULES = Rules(ordered=frozenset({"command", "entrypoints", "tests"}), computed=frozenset({"external"}))

_docker = partial(Kind, package="pulumi_docker", rules=RULES)

CONTAINER = _docker(
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
    blank_keeps=frozenset({"user", "workingDir"}),  # empty means the image's
    delete_before_replace=True,
)

NETWORK = _docker(
    arguments="NetworkArgs",
    in_place=frozenset(),
    defaults={"ipamDriver": "default"},
    chosen=frozenset({"driver", "internal", "ipamConfigs", "ipamOptions", "options"}),
    outputs=frozenset({"scope"}),
)

IMAGE = _docker(
    arguments="RemoteImageArgs",
    outputs=frozenset({"imageId", "repoDigest"}),
    in_place=frozenset({"build", "forceRemove", "keepLocally"}),
    refused=frozenset({"build"}),
    auto_named=False,
)

VOLUME = _docker(
    arguments="VolumeArgs",
    in_place=frozenset(),
    chosen=frozenset({"driver"}),
    outputs=frozenset({"mountpoint"}),
    refused=frozenset({"cluster"}),
)
