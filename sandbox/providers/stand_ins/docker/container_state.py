"""What the provider reads back from a container; environment, labels, volumes and uploads it does not."""

from typing import Any

from sandbox.providers.stand_ins.docker import durations
from sandbox.providers.stand_ins.docker.container_spec import MEBIBYTE, THROTTLES


def properties(container: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The properties that an inspected container has, as far as the provider sets them."""
    config, host, status = container["Config"], container["HostConfig"], container["State"]
    networks = container.get("NetworkSettings") or {}
    must_run = state.get("mustRun", True)
    found: dict[str, Any] = {
        "bridge": networks.get("Bridge", ""),
        "networkDatas": _network_datas(networks.get("Networks") or {}),
        "name": container["Name"].lstrip("/"),
        # A state that names the image by its id goes on doing so; any other name stays as it was given.
        "image": container["Image"] if state.get("image", "").startswith("sha256:") else config["Image"],
        **_configuration(config),
        **_host_settings(host),
        **_limits(host),
    }
    if status["Running"] or must_run:
        found["ports"] = _ports(networks.get("Ports") or {})
    if not status["Running"]:
        found["exitCode"] = status["ExitCode"]
        # The drift that makes the next deployment start the container again.
        found["mustRun"] = False
    return found


def _configuration(config: dict[str, Any]) -> dict[str, Any]:
    found = {
        "hostname": config["Hostname"],
        "domainname": config["Domainname"],
        "command": config.get("Cmd") or [],
        "entrypoints": config.get("Entrypoint") or [],
        "user": config["User"],
        "workingDir": config["WorkingDir"],
        "tty": config["Tty"],
        "stdinOpen": config["OpenStdin"],
        "stopSignal": config.get("StopSignal", ""),
        "stopTimeout": config.get("StopTimeout") or 0,
    }
    health = config.get("Healthcheck")
    if health:
        found["healthcheck"] = {
            "tests": health.get("Test") or [],
            "interval": durations.text_of(health.get("Interval", 0)),
            "timeout": durations.text_of(health.get("Timeout", 0)),
            "startPeriod": durations.text_of(health.get("StartPeriod", 0)),
            "startInterval": durations.text_of(health.get("StartInterval", 0)),
            "retries": health.get("Retries", 0),
        }
    return found


def _host_settings(host: dict[str, Any]) -> dict[str, Any]:
    found = {
        "rm": host["AutoRemove"],
        "readOnly": host["ReadonlyRootfs"],
        "dns": host.get("Dns") or [],
        "dnsOpts": host.get("DnsOptions") or [],
        "dnsSearches": host.get("DnsSearch") or [],
        "securityOpts": host.get("SecurityOpt") or [],
        "publishAllPorts": host["PublishAllPorts"],
        "restart": host["RestartPolicy"]["Name"],
        "maxRetryCount": host["RestartPolicy"]["MaximumRetryCount"],
        "init": bool(host.get("Init")),
        "runtime": host.get("Runtime", ""),
        "mounts": [_mount(mount) for mount in host.get("Mounts") or []],
        "tmpfs": host.get("Tmpfs") or {},
        "hosts": [_extra_host(entry) for entry in host.get("ExtraHosts") or []],
        "privileged": host["Privileged"],
        "devices": [
            {
                "hostPath": device["PathOnHost"],
                "containerPath": device["PathInContainer"],
                "permissions": device["CgroupPermissions"],
            }
            for device in host.get("Devices") or []
        ],
        "logDriver": host["LogConfig"]["Type"],
        "logOpts": host["LogConfig"].get("Config") or {},
        "storageOpts": host.get("StorageOpt") or {},
        "networkMode": host["NetworkMode"],
        "pidMode": host.get("PidMode", ""),
        "usernsMode": host.get("UsernsMode", ""),
        "sysctls": host.get("Sysctls") or {},
        "ipcMode": host.get("IpcMode", ""),
        "groupAdds": host.get("GroupAdd") or [],
    }
    adds, drops = host.get("CapAdd") or [], host.get("CapDrop") or []
    if adds or drops:
        found["capabilities"] = {"adds": adds, "drops": drops}
    return found


def _limits(host: dict[str, Any]) -> dict[str, Any]:
    swap = host["MemorySwap"]
    return {
        "memory": host["Memory"] // MEBIBYTE,
        "memoryReservation": host["MemoryReservation"] // MEBIBYTE,
        "memorySwap": swap // MEBIBYTE if swap > 0 else swap,
        "shmSize": host["ShmSize"] // MEBIBYTE,
        "cpuShares": host["CpuShares"],
        "cpuSet": host["CpusetCpus"],
        "ulimits": [
            {"name": limit["Name"], "soft": limit["Soft"], "hard": limit["Hard"]}
            for limit in host.get("Ulimits") or []
        ],
        **{
            ours: [{"path": entry["Path"], "rate": entry["Rate"]} for entry in host.get(theirs) or []]
            for ours, theirs in THROTTLES.items()
        },
    }


def _ports(ports: dict[str, list[dict[str, str]] | None]) -> list[dict[str, Any]]:
    found = []
    for name in sorted(ports, key=lambda name: int(name.partition("/")[0])):
        internal, _, protocol = name.partition("/")
        bindings = ports[name] or []
        addresses = {binding["HostIp"] for binding in bindings}
        for binding in bindings:
            # Docker adds the IPv6 twin of 0.0.0.0 by itself.
            if binding["HostIp"] == "::" and "0.0.0.0" in addresses:  # noqa: S104
                continue
            found.append(
                {
                    "internal": int(internal),
                    "external": int(binding["HostPort"]),
                    "ip": binding["HostIp"],
                    "protocol": protocol,
                }
            )
    return found


def _network_datas(networks: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "networkName": name,
            "ipAddress": data["IPAddress"],
            "ipPrefixLength": data["IPPrefixLen"],
            "gateway": data["Gateway"],
            "globalIpv6Address": data["GlobalIPv6Address"],
            "globalIpv6PrefixLength": data["GlobalIPv6PrefixLen"],
            "ipv6Gateway": data["IPv6Gateway"],
            "macAddress": data["MacAddress"],
        }
        for name, data in sorted(networks.items())
    ]


def _extra_host(entry: str) -> dict[str, str]:
    host, _, address = entry.partition(":")
    return {"host": host, "ip": address}


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "target": mount["Target"],
        "source": mount.get("Source", ""),
        "type": mount["Type"],
        "readOnly": mount.get("ReadOnly", False),
    }
    if "BindOptions" in mount:
        found["bindOptions"] = {"propagation": mount["BindOptions"].get("Propagation", "")}
    if "VolumeOptions" in mount:
        options = mount["VolumeOptions"]
        driver = options.get("DriverConfig") or {}
        found["volumeOptions"] = {
            "noCopy": options.get("NoCopy", False),
            "labels": [
                {"label": key, "value": value} for key, value in (options.get("Labels") or {}).items()
            ],
            "driverName": driver.get("Name", ""),
            "driverOptions": driver.get("Options") or {},
            "subpath": options.get("Subpath", ""),
        }
    if "TmpfsOptions" in mount:
        options = mount["TmpfsOptions"]
        found["tmpfsOptions"] = {"sizeBytes": options.get("SizeBytes", 0), "mode": options.get("Mode", 0)}
    return found
