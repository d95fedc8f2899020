"""Files on the host, written atomically through a command's standard input."""

from dataclasses import dataclass

import pulumi

from components.hosts.base import Host, HostCommand

ROOT_OWNER = "0:0"
# The last line of what is sent: without it the sender was cut off, and the old file stays.
END = "--- end of file ---"


@dataclass(frozen=True, kw_only=True)
class HostFile:
    """`path` is below srvRoot; `owner` is uid:gid; `mode` is octal."""

    path: str
    content: pulumi.Input[str]
    mode: str = "0644"
    owner: str = ROOT_OWNER
    secret: bool = False


def write_file(
    name: str, host: Host, srv_root: str, file: HostFile, opts: pulumi.ResourceOptions | None = None
) -> HostCommand:
    """The file as a resource: written again when its text changes, and never deleted with it."""
    return host.run(
        name,
        "write-file.sh",
        f"{srv_root}/{file.path}",
        file.mode,
        file.owner,
        END,
        stdin=pulumi.Output.from_input(file.content).apply(lambda text: f"{text}\n{END}\n"),
        secret=file.secret,
        opts=opts,
    )
