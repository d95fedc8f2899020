"""How a running container differs from what the state says it is made of: what the provider does not read back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Inspected = Mapping[str, Any]
Inputs = Mapping[str, Any]

MIB = 1024 * 1024


def differences(inputs: Inputs, identity: str, found: Inspected | None, image: Inspected | None) -> list[str]:
    """A sentence for each difference. `identity` is the state's Docker id, `found` and `image` are what `docker inspect` says of the
    container and of the image that the inputs name, None where the engine has none."""
    if found is None:
        return ["is gone"]
    config, host = found.get("Config") or {}, found.get("HostConfig") or {}
    return [
        *_identity(identity, found, image),
        *_environment(inputs, config, image),
        *_labels(inputs, config),
        *_mounts(inputs, found, image),
        *_limits(inputs, host),
        *_ports(inputs, host),
        *_rights(inputs, config, host),
        *_networks(inputs, found),
    ]


def _identity(identity: str, found: Inspected, image: Inspected | None) -> Iterable[str]:
    if found.get("Id") != identity:
        yield "is another container than the one that pulumi has made"
    if not (found.get("State") or {}).get("Running"):
        yield "does not run"
    if image is not None and found.get("Image") != image.get("Id"):
        yield f"runs another image ({str(found.get('Image'))[:19]})"


def _environment(inputs: Inputs, config: Inspected, image: Inspected | None) -> Iterable[str]:
    # By name alone: somebody may have put a secret there.
    wanted = {**_pairs(((image or {}).get("Config") or {}).get("Env")), **_pairs(inputs.get("envs"))}
    has = _pairs(config.get("Env"))
    yield from (f"has no {name} in its environment" for name in sorted(wanted.keys() - has.keys()))
    if image is not None:
        yield from (f"has {name} in its environment" for name in sorted(has.keys() - wanted.keys()))
    yield from (
        f"has another {name} in its environment"
        for name in sorted(wanted.keys() & has.keys())
        if wanted[name] != has[name]
    )


def _pairs(entries: Sequence[str] | None) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in entries or [])}


def _labels(inputs: Inputs, config: Inspected) -> Iterable[str]:
    has = config.get("Labels") or {}
    for entry in inputs.get("labels") or []:
        if has.get(entry["label"]) != entry["value"]:
            yield f"has not the label {entry['label']}={entry['value']}"


def _mounts(inputs: Inputs, found: Inspected, image: Inspected | None) -> Iterable[str]:
    wanted = {
        v["containerPath"]: (v.get("hostPath"), not v.get("readOnly")) for v in inputs.get("volumes") or []
    }
    has = {m["Destination"]: (m.get("Source"), m.get("RW")) for m in found.get("Mounts") or []}
    for place, (source, writable) in wanted.items():
        if place not in has:
            yield f"has nothing mounted on {place}"
        elif has[place] != (source, writable):
            mode = "writable" if has[place][1] else "read-only"
            yield f"has {has[place][0]} mounted on {place}, {mode}"
    # Docker makes an empty volume for what an image declares as one.
    of_image = ((image or {}).get("Config") or {}).get("Volumes") or {}
    further = has.keys() - wanted.keys() - of_image.keys()
    yield from (f"has {has[place][0]} mounted on {place} too" for place in sorted(further))


def changed_in_place(inputs: Inputs, found: Inspected) -> list[str]:
    """Those of the differences that a container need not be made anew for, as the provider has it."""
    host = found.get("HostConfig") or {}
    return [*_size(inputs, host, "memory", "Memory"), *_restart(inputs, host)]


def _limits(inputs: Inputs, host: Inspected) -> Iterable[str]:
    yield from _size(inputs, host, "memory", "Memory")
    yield from _size(inputs, host, "shmSize", "ShmSize")
    yield from _restart(inputs, host)


def _size(inputs: Inputs, host: Inspected, name: str, key: str) -> Iterable[str]:
    wanted = inputs.get(name)
    if wanted is not None and host.get(key) != int(wanted) * MIB:
        yield f"has {name} {_mib(host.get(key))}, not {int(wanted)} MiB"


def _restart(inputs: Inputs, host: Inspected) -> Iterable[str]:
    policy = (host.get("RestartPolicy") or {}).get("Name") or "no"
    if policy != inputs.get("restart", "no"):
        yield f"is restarted {policy}, not {inputs.get('restart', 'no')}"


def _mib(size: Any) -> str:
    return f"{size // MIB} MiB" if isinstance(size, int) and size else "without a limit"


def _ports(inputs: Inputs, host: Inspected) -> Iterable[str]:
    wanted = {
        f"{p.get('ip', '0.0.0.0')}:{p['external']} for {p['internal']}/{p.get('protocol', 'tcp')}"  # noqa: S104 # what Docker means by none
        for p in inputs.get("ports") or []
    }
    has = {
        f"{binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort')} for {port}"  # noqa: S104
        for port, bindings in (host.get("PortBindings") or {}).items()
        for binding in bindings or []
    }
    yield from (f"does not publish {port}" for port in sorted(wanted - has))
    yield from (f"publishes {port}" for port in sorted(has - wanted))


def _rights(inputs: Inputs, config: Inspected, host: Inspected) -> Iterable[str]:
    if host.get("Privileged") and not inputs.get("privileged"):
        yield "is privileged"
    if (config.get("User") or "") != (inputs.get("user") or config.get("User") or ""):
        yield f"runs as user {config.get('User') or 'root'}, not {inputs.get('user')}"
    capabilities = inputs.get("capabilities") or {}
    for name, key in {"adds": "CapAdd", "drops": "CapDrop"}.items():
        wanted, has = (
            set(map(_capability, names or [])) for names in (capabilities.get(name), host.get(key))
        )
        if wanted != has:
            yield f"{name} the capabilities {', '.join(sorted(has)) or 'none'}, not {', '.join(sorted(wanted)) or 'none'}"
    wanted, has = (sorted(words or []) for words in (inputs.get("securityOpts"), host.get("SecurityOpt")))
    if wanted != has:
        yield f"has the security options {', '.join(has) or 'none'}, not {', '.join(wanted) or 'none'}"


def _capability(name: str) -> str:
    return name.removeprefix("CAP_")


def _networks(inputs: Inputs, found: Inspected) -> Iterable[str]:
    wanted = {entry["name"] for entry in inputs.get("networksAdvanced") or []}
    has = set((found.get("NetworkSettings") or {}).get("Networks") or {})
    yield from (f"is not on the network {name}" for name in sorted(wanted - has))
    yield from (f"is on the network {name} too" for name in sorted(has - wanted))
