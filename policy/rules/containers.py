"""How containers run: what they may do, what they see of the host, what they use of it, how they end."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from policy.model import Resource, Rule, Stack
from policy.tree import entries, known, words

CONTAINER = "docker:index/container:Container"

EVERY_ADDRESS = ("", "0.0.0.0", "::", "0:0:0:0:0:0:0:0")  # noqa: S104
# With these a container is the host.
HOST_NAMESPACES = {
    "networkMode": "a network of the program and ports with an ip",
    "pidMode": "no pidMode",
    "ipcMode": "no ipcMode",
    "usernsMode": "no usernsMode",
}
# What the images need to give their files to their own user and to become it.
CAPABILITIES = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
RESTARTING = ("unless-stopped", "always")


def published_port(resource: Resource, _stack: Stack) -> Iterator[str]:
    """A port is published on an address that somebody has named."""
    if resource.type != CONTAINER:
        return
    if resource.inputs.get("publishAllPorts") is True:
        yield f"{resource.name} publishes every port of its image on every address; write ports, each with an ip"
    for port in entries(resource.inputs, "ports"):
        address = port.get("ip", "")
        if address is None or (isinstance(address, str) and address.strip("[]") in EVERY_ADDRESS):
            number = port.get("external", port.get("internal"))
            shown = f"{number:g}" if isinstance(number, int | float) else "of any number"
            yield (
                f"{resource.name} publishes port {shown} on every address of the host (ip {address or 'not given'}); "
                "write ip: 127.0.0.1 or the host's private address, as network.publishAddress does"
            )


def privileged(resource: Resource, _stack: Stack) -> Iterator[str]:
    """No container has the host's rights."""
    if resource.type != CONTAINER:
        return
    if resource.inputs.get("privileged") is True:
        yield f"{resource.name} is privileged, which is root on the host; take privileged away and add the capability that it needs"
    for key, instead in HOST_NAMESPACES.items():
        if resource.inputs.get(key) == "host":
            yield f"{resource.name} has {key} host, and so sees what is the host's; write {instead}"
    for option in words(resource.inputs, "securityOpts"):
        if option.replace(":", "=").endswith("=unconfined"):
            yield f"{resource.name} is not confined ({option}); take that out of securityOpts"
    for device in entries(resource.inputs, "devices"):
        yield f"{resource.name} is given the host's device {device.get('hostPath')}; take devices away"


def capabilities(resource: Resource, _stack: Stack) -> Iterator[str]:
    """No container may do more than its image needs."""
    if resource.type != CONTAINER or not known(resource.inputs.get("capabilities", {})):
        return
    said = resource.inputs.get("capabilities", {})
    if "ALL" not in {_capability(word) for word in words(said, "drops")}:
        yield f'{resource.name} keeps the capabilities that Docker gives; write capabilities drops: ["ALL"], and adds for what its image needs'
    for word in words(said, "adds"):
        if _capability(word) not in CAPABILITIES:
            yield (
                f"{resource.name} adds the capability {word}; write only those of {', '.join(sorted(CAPABILITIES))}, "
                "or add it to CAPABILITIES in policy/rules/containers.py with the reason"
            )


def _capability(word: str) -> str:
    return word.upper().removeprefix("CAP_")


def mounts(resource: Resource, stack: Stack) -> Iterator[str]:
    """A container sees of the host what is below srvRoot: not Docker's socket, and no folder that holds it."""
    if resource.type != CONTAINER:
        return
    sources = [volume.get("hostPath") for volume in entries(resource.inputs, "volumes")]
    sources += [
        mount.get("source") for mount in entries(resource.inputs, "mounts") if mount.get("type") == "bind"
    ]
    for source in sources:
        if not isinstance(source, str) or not source:
            continue
        path = PurePosixPath(source)
        if path.name == "docker.sock":
            yield f"{resource.name} mounts Docker's socket {source}, which is root on the host; take that volume away"
        elif ".." in path.parts or PurePosixPath(stack.srv_root) not in path.parents:
            yield (
                f"{resource.name} mounts {source} of the host, and all but what is below {stack.srv_root} is the host's own "
                f"(Docker's socket is in /var/run); write a folder below {stack.srv_root}"
            )


def memory(resource: Resource, _stack: Stack) -> Iterator[str]:
    """No container can take the memory of the others."""
    said = resource.inputs.get("memory")
    if resource.type == CONTAINER and (said is None or (isinstance(said, int | float) and said <= 0)):
        yield f"{resource.name} has no limit of memory, and can end the others with it; write memory (MiB) and the same memorySwap"


def restart(resource: Resource, _stack: Stack) -> Iterator[str]:
    """What runs is there again after a crash and a reboot."""
    said = resource.inputs.get("restart", "no")
    if resource.type == CONTAINER and known(said) and said not in RESTARTING:
        yield f"{resource.name} has restart {said}, and is gone after a crash or a reboot; write restart: unless-stopped"


def grace(resource: Resource, _stack: Stack) -> Iterator[str]:
    """No container is killed while it writes."""
    if resource.type != CONTAINER:
        return
    said, wanted = resource.inputs.get("destroyGraceSeconds", 0), resource.inputs.get("stopTimeout", 1)
    if isinstance(said, int | float) and isinstance(wanted, int | float) and said < max(wanted, 1):
        yield (
            f"{resource.name} has destroyGraceSeconds {said:g}, so that a replacement kills it"
            f"{' at once' if said <= 0 else ' before its stopTimeout'}; write destroyGraceSeconds: {max(wanted, 30):g}"
        )


RULES = [
    Rule(name="no-public-port", title="Ports are published on one address.", check=published_port),
    Rule(name="not-privileged", title="No container has the host's rights.", check=privileged),
    Rule(
        name="capabilities-dropped",
        title="Containers have the capabilities that they need.",
        check=capabilities,
    ),
    Rule(name="no-docker-socket", title="Containers see of the host what is theirs.", check=mounts),
    Rule(name="memory-limited", title="Every container has a limit of memory.", check=memory),
    Rule(name="restarts", title="Containers come back after a reboot.", check=restart),
    Rule(name="ends-cleanly", title="Containers are given time to end.", check=grace),
]
