"""Where a repository is, from its name as Docker writes it."""

import ipaddress
from dataclasses import dataclass

DOCKER_HUB = "registry-1.docker.io"
# Names of one and the same registry, whose API is at none of them.
HUB_NAMES = ("docker.io", "index.docker.io")


@dataclass(frozen=True)
class Repository:
    """`name` as the catalogue writes it, `host` with a port if there is one, `path` as the registry knows it."""

    name: str
    host: str
    path: str

    @property
    def api(self) -> str:
        """The address below which the registry answers for it."""
        return f"{'http' if is_loopback(self.host) else 'https'}://{self.host}/v2/{self.path}"


def repository(name: str) -> Repository:
    """`postgres` is Docker Hub's library/postgres; a first part with a dot or a port, or localhost, is a host."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, rest
    else:
        host, path = HUB_NAMES[0], name
    if host in HUB_NAMES:
        return Repository(name, DOCKER_HUB, path if "/" in path else f"library/{path}")
    return Repository(name, host, path)


def is_loopback(host: str) -> bool:
    """Whether host[:port] is this machine, the only one that is spoken to without TLS."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
