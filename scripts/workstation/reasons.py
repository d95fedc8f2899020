"""Why something changes, as a person says it: which inputs, and from what to what. Only inputs named here are shown by value."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.workstation.file_lists import changed_files
from scripts.workstation.parts import IMAGES, Kind
from scripts.workstation.plan import Action, Change, Plan
from scripts.workstation.values import UNKNOWN

_OF_A_CONTAINER = {
    "command": "its command line",
    "destroyGraceSeconds": "time to stop",
    "entrypoints": "its command line",
    "healthcheck": "health check",
    "networksAdvanced": "its network",
    "shmSize": "shared memory",
    "stopTimeout": "time to stop",
    "volumes": "mounts",
}
# Follow from others, or are compose's alone.
_CONSEQUENCES = {"labels", "memorySwap"}
_NUMBER = re.compile(r"\d+")


def container_reasons(plan: Plan, change: Change) -> list[str]:
    """Why a container restarts, is changed or made."""
    if change.action not in (Action.REPLACED, Action.CHANGED):
        return []
    said = [
        reason for name in sorted(change.properties - _CONSEQUENCES) for reason in _reason(plan, change, name)
    ]
    if said:
        return said
    # Its labels hold the hash of all that it is made from, and of what it reads at its start.
    from_files = [
        path.rpartition("/")[2]
        for written in plan.of(Kind.FILES)
        if written.part.service == change.part.service
        for path in changed_files(written)
    ]
    return (
        [f"settings read at its start ({', '.join(from_files)})"]
        if from_files
        else ["its description for docker compose"]
    )


def _reason(plan: Plan, change: Change, name: str) -> Iterator[str]:
    old, new = change.old.get(name), change.new.get(name)
    if name == "image":
        yield _image(plan, change)
    elif name == "memory":
        yield f"memory {old} -> {new} MiB"
    elif name == "ports":
        yield from _ports(old, new)
    elif name == "networksAdvanced" and any(c.action is Action.REPLACED for c in plan.of(Kind.NETWORK)):
        yield "the network that it is on is replaced"
    else:
        yield _OF_A_CONTAINER.get(name, name)


def _ports(old: Any, new: Any) -> Iterator[str]:
    before, after = ([(str(p.get("ip")), p.get("external")) for p in ports or []] for ports in (old, new))
    if len(before) != len(after) or not before:
        yield "ports"
        return
    for (old_ip, old_port), (new_ip, new_port) in zip(before, after, strict=True):
        if old_port != new_port:
            yield f"port {old_port} -> {new_port}"
        if old_ip != new_ip:
            yield f"address {old_ip} -> {new_ip}"


def _image(plan: Plan, change: Change) -> str:
    old, new = (version(outputs, change.container) for outputs in (plan.before, plan.after))
    if not old or not new:
        digests = [
            _digest((outputs.get("images") or {}).get(change.container))
            for outputs in (plan.before, plan.after)
        ]
        return f"another image {digests[0]} -> {digests[1]}"
    order = [tuple(int(n) for n in _NUMBER.findall(text)) for text in (old, new)]
    if old == new:
        return f"another build of image {new}"
    if order[0][:1] != order[1][:1]:
        return f"ANOTHER MAJOR VERSION {old} -> {new}"
    word = "newer" if order[1] > order[0] else "older" if order[1] < order[0] else "another"
    return f"{word} image {old} -> {new}"


def version(outputs: Mapping[str, Any], container: str) -> str | None:
    """The tag of a container's image as the stack's outputs have it."""
    found = (outputs.get("versions") or {}).get(IMAGES.get(container, container))
    return str(found) if found else None


def _digest(image: Any) -> str:
    return str(image or "unknown").rpartition("sha256:")[2][:12]


def details(change: Change) -> list[str]:
    """Sizes and shapes in OCI, before and after."""
    return list(_details(change))


def _details(change: Change) -> Iterator[str]:
    for path, word in (
        ("shape", "{}"),
        ("shapeConfig.ocpus", "{} OCPUs"),
        ("shapeConfig.memoryInGbs", "{} GiB"),
        ("sourceDetails.bootVolumeSizeInGbs", "boot volume {} GiB"),
        ("sizeInGbs", "{} GiB"),
        ("cidrBlock", "{}"),
    ):
        old, new = _at(change.old, path), _at(change.new, path)
        if old == new or new is None:
            if new is not None and change.action is Action.MADE:
                yield word.format(new)
        elif old is None:
            yield word.format(new)
        else:
            yield word.format(f"{old} -> {new}")


def _at(inputs: Mapping[str, Any], path: str) -> Any:
    value: Any = inputs
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value in (None, UNKNOWN) or isinstance(value, Mapping) else value
