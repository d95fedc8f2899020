"""Files on the host: written together, all at once or not at all, and found by a refresh when somebody has changed them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.host_state import HostState
from components.hosts.base import Host, keep

ROOT_OWNER = "0:0"


@dataclass(frozen=True, kw_only=True)
class HostFile:
    """`path` is below srvRoot; `owner` is uid:gid; `mode` is octal."""

    path: str
    content: pulumi.Input[str]
    mode: str = "0644"
    owner: str = ROOT_OWNER


def write_files(
    name: str,
    host: Host,
    srv_root: str,
    files: Sequence[HostFile],
    opts: pulumi.ResourceOptions | None = None,
) -> HostState:
    """The files as one resource: written when a text changes, and never deleted with it. A secret text makes a secret of all."""
    texts = pulumi.Output.all(*(file.content for file in files))
    return keep(
        host,
        name,
        "write-files.sh",
        stdin=texts.apply(lambda known: file_list(srv_root, files, known)),
        opts=opts,
    )


def file_list(srv_root: str, files: Sequence[HostFile], texts: Sequence[str]) -> str:
    """The list that scripts/host/write-files.sh describes: in the clear, for whoever reads the difference in a preview."""
    entries = [
        f"file {file.mode} {file.owner} {len(text.encode())} {srv_root}/{file.path}\n{text}\n"
        for file, text in zip(files, texts, strict=True)
    ]
    return "".join([*entries, "end\n"])


def checksums(srv_root: str, files: Sequence[HostFile]) -> pulumi.Output[str]:
    """What a script knows these files by, for whoever has to have read them."""
    texts = pulumi.Output.all(*(file.content for file in files))
    return texts.apply(lambda known: sums_of(srv_root, files, known))


def sums_of(srv_root: str, files: Sequence[HostFile], texts: Sequence[str]) -> str:
    """A line for each file as sha256sum writes it, and the line `end`."""
    lines = [
        f"{hashlib.sha256(text.encode()).hexdigest()}  {srv_root}/{file.path}\n"
        for file, text in zip(files, texts, strict=True)
    ]
    return "".join([*lines, "end\n"])
