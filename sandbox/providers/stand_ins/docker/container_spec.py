"""A container's inputs as the body of the engine's create request."""

from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.providers.stand_ins.docker import durations
from sandbox.providers.stand_ins.errors import ProviderError

MEBIBYTE = 1024 * 1024

THROTTLES = {
    "deviceReadBps": "BlkioDeviceReadBps",
    "deviceReadIops": "BlkioDeviceReadIOps",
    "deviceWriteBps": "BlkioDeviceWriteBps",
    "deviceWriteIops": "BlkioDeviceWriteIOps",
}


def body(inputs: dict[str, Any]) -> dict[str, Any]:
    """The whole create request, without what is zero: the engine's own default then applies."""
    get = inputs.get
    exposed, bindings = _ports(get("ports", []))
    paths, binds, volumes_from = _volumes(get("volumes", []))
    if "" in get("command", []):
        raise ProviderError("values for command may not be empty")
    host = {
        **_resources(inputs),
        **_simple_host_settings(inputs),
        "PortBindings": bindings,
        "Binds": binds,
        "VolumesFrom": volumes_from,
        "Mounts": [_mount(mount) for mount in get("mounts", [])],
        "RestartPolicy": restart_policy(inputs),
        "LogConfig": _without_nothing({"Type": get("logDriver"), "Config": get("logOpts")}),
        "ExtraHosts": [f"{entry['host']}:{entry['ip']}" for entry in get("hosts", [])],
        "Ulimits": [
            {"Name": entry["name"], "Soft": entry["soft"], "Hard": entry["hard"]}
            for entry in get("ulimits", [])
        ],
        "Devices": [_device(device) for device in get("devices", [])],
        "DeviceRequests": [_device_request(request) for request in get("deviceRequests", [])],
        # The provider always sends it, so an unset `init` means false, whatever the daemon's default is.
        "Init": bool(get("init")),
    }
    return _without_nothing(
        {
            "Image": inputs["image"],
            "Hostname": get("hostname"),
            "Domainname": get("domainname"),
            "Tty": get("tty"),
            "OpenStdin": get("stdinOpen"),
            "StopSignal": get("stopSignal"),
            "StopTimeout": get("stopTimeout"),
            "Env": get("envs"),
            "Cmd": get("command"),
            "Entrypoint": get("entrypoints"),
            "User": get("user"),
            "WorkingDir": get("workingDir"),
            "ExposedPorts": exposed,
            "Volumes": paths,
            "Labels": labels(get("labels", [])),
            "Healthcheck": _healthcheck(get("healthcheck")),
            "HostConfig": _without_nothing(host, keep=("Init",)) | _security(get("securityOpts", [])),
        }
    )


def update_body(inputs: dict[str, Any]) -> dict[str, Any]:
    """What the provider sends when a limit or the restart policy changes in place."""
    return {
        "RestartPolicy": restart_policy(inputs),
        "CpuShares": inputs.get("cpuShares", 0),
        "Memory": inputs.get("memory", 0) * MEBIBYTE,
        "MemoryReservation": inputs.get("memoryReservation", 0) * MEBIBYTE,
        "CpusetCpus": inputs.get("cpuSet", ""),
        **_without_nothing({"MemorySwap": _swap(inputs)} | _throttles(inputs)),
    }


def restart_policy(inputs: dict[str, Any]) -> dict[str, Any]:
    """The restart policy in the engine's form."""
    return {"Name": inputs.get("restart", "no"), "MaximumRetryCount": inputs.get("maxRetryCount", 0)}


def labels(entries: list[dict[str, str]]) -> dict[str, str]:
    """Label objects of the schema as the engine's map."""
    return {entry["label"]: entry["value"] for entry in entries}


def endpoint(network: dict[str, Any]) -> dict[str, Any]:
    """The settings of one connection between a container and a network."""
    return _without_nothing(
        {
            "Aliases": network.get("aliases"),
            "MacAddress": network.get("macAddress"),
            "DriverOpts": dict(
                option.split("=", 1) for option in network.get("driverOpts", []) if "=" in option
            ),
            "GwPriority": network.get("gwPriority"),
            "IPAMConfig": _without_nothing(
                {
                    "IPv4Address": network.get("ipv4Address"),
                    "IPv6Address": network.get("ipv6Address"),
                    "LinkLocalIPs": network.get("linkLocalIps"),
                }
            ),
        }
    )


def _without_nothing(values: dict[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in keep or value not in (None, "", 0, [], {})}


def _simple_host_settings(inputs: dict[str, Any]) -> dict[str, Any]:
    get = inputs.get
    capabilities = get("capabilities", {})
    return {
        "Privileged": get("privileged"),
        "PublishAllPorts": get("publishAllPorts"),
        "Runtime": get("runtime"),
        "AutoRemove": get("rm"),
        "ReadonlyRootfs": get("readOnly"),
        "Tmpfs": get("tmpfs"),
        "CapAdd": capabilities.get("adds"),
        "CapDrop": capabilities.get("drops"),
        "Dns": get("dns"),
        "DnsOptions": get("dnsOpts"),
        "DnsSearch": get("dnsSearches"),
        "NetworkMode": get("networkMode"),
        "UsernsMode": get("usernsMode"),
        "PidMode": get("pidMode"),
        "IpcMode": get("ipcMode"),
        "CgroupnsMode": get("cgroupnsMode"),
        "CgroupParent": get("cgroupParent"),
        "Sysctls": get("sysctls"),
        "GroupAdd": get("groupAdds"),
        "StorageOpt": get("storageOpts"),
        "DeviceCgroupRules": get("deviceCgroupRules"),
    }


def _resources(inputs: dict[str, Any]) -> dict[str, Any]:
    get = inputs.get
    cpus = get("cpus")
    return {
        "Memory": get("memory", 0) * MEBIBYTE,
        "MemoryReservation": get("memoryReservation", 0) * MEBIBYTE,
        "MemorySwap": _swap(inputs),
        "ShmSize": get("shmSize", 0) * MEBIBYTE,
        "NanoCpus": _nano_cpus(cpus) if cpus else None,
        "CpuPeriod": None if cpus else get("cpuPeriod"),
        "CpuQuota": None if cpus else get("cpuQuota"),
        "CpuShares": get("cpuShares"),
        "CpusetCpus": get("cpuSet"),
        **_throttles(inputs),
    }


def _swap(inputs: dict[str, Any]) -> int:
    swap = inputs.get("memorySwap", 0)
    return swap * MEBIBYTE if swap > 0 else swap


def _throttles(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        theirs: [{"Path": entry["path"], "Rate": entry["rate"]} for entry in inputs.get(ours, [])]
        for ours, theirs in THROTTLES.items()
    }


def _nano_cpus(cpus: str) -> int:
    try:
        return int(Decimal(cpus) * 10**9)
    except InvalidOperation:
        raise ProviderError(f"Error setting cpus: failed to parse {cpus} as a rational number") from None


def _ports(ports: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    exposed: dict[str, Any] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        name = f"{port['internal']}/{port.get('protocol', 'tcp')}"
        exposed[name] = {}
        binding = {"HostIp": port.get("ip", ""), "HostPort": str(port.get("external", 0))}
        bindings.setdefault(name, []).append(binding)
    return exposed, bindings


def _volumes(volumes: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str], list[str]]:
    paths: dict[str, Any] = {}
    binds: list[str] = []
    volumes_from: list[str] = []
    for volume in volumes:
        source_container, path = volume.get("fromContainer", ""), volume.get("containerPath", "")
        if not source_container and not path:
            raise ProviderError(
                "Unable to parse volumes: volume entry without container path or source container"
            )
        if source_container and path:
            raise ProviderError(
                "Unable to parse volumes: both a container and a path specified in a volume entry"
            )
        if source_container:
            volumes_from.append(source_container)
            continue
        paths[path] = {}
        source = volume.get("hostPath") or volume.get("volumeName")
        if source:
            options = [option for option in (volume.get("selinuxRelabel"),) if option]
            binds.append(f"{source}:{path}:{','.join(['ro' if volume.get('readOnly') else 'rw', *options])}")
    return paths, binds, volumes_from


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    bind, volume, tmpfs = (mount.get(f"{kind}Options", {}) for kind in ("bind", "volume", "tmpfs"))
    driver = _without_nothing({"Name": volume.get("driverName"), "Options": volume.get("driverOptions")})
    options = {
        "bind": {"BindOptions": {"Propagation": bind.get("propagation", "")} if bind else None},
        "volume": {
            "VolumeOptions": _without_nothing(
                {
                    "NoCopy": volume.get("noCopy"),
                    "Labels": labels(volume.get("labels", [])),
                    "DriverConfig": driver,
                    "Subpath": volume.get("subpath"),
                }
            )
        },
        "tmpfs": {
            "TmpfsOptions": _without_nothing({"SizeBytes": tmpfs.get("sizeBytes"), "Mode": tmpfs.get("mode")})
        },
    }
    return _without_nothing(
        {
            "Type": mount["type"],
            "Target": mount["target"],
            "Source": mount.get("source"),
            "ReadOnly": mount.get("readOnly"),
            **options.get(mount["type"], {}),
        }
    )


def _device(device: dict[str, Any]) -> dict[str, Any]:
    return {
        "PathOnHost": device["hostPath"],
        "PathInContainer": device.get("containerPath") or device["hostPath"],
        "CgroupPermissions": device.get("permissions") or "rwm",
    }


def _device_request(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "Driver": request.get("driver", ""),
        "Count": request.get("count", 0),
        "DeviceIDs": request.get("deviceIds", []),
        "Capabilities": [request["capabilities"]] if request.get("capabilities") else [],
        "Options": request.get("options", {}),
    }


def _healthcheck(healthcheck: dict[str, Any] | None) -> dict[str, Any] | None:
    if healthcheck is None:
        return None
    return {
        "Test": healthcheck.get("tests", []),
        "Interval": durations.parse(healthcheck.get("interval", "0s")),
        "Timeout": durations.parse(healthcheck.get("timeout", "0s")),
        "StartPeriod": durations.parse(healthcheck.get("startPeriod", "0s")),
        "StartInterval": durations.parse(healthcheck.get("startInterval", "0s")),
        "Retries": healthcheck.get("retries", 0),
    }


def _security(options: list[str]) -> dict[str, Any]:
    """Docker's client, not its engine, understands systempaths=unconfined; so does the provider."""
    sent = [option for option in options if option != "systempaths=unconfined"]
    result: dict[str, Any] = {"SecurityOpt": sent} if sent else {}
    if len(sent) != len(options):
        result |= {"MaskedPaths": [], "ReadonlyPaths": []}
    return result
