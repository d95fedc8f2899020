"""What this machine says about itself: routes, ports in use, and who uses them."""

import errno
import socket
from ipaddress import IPv4Network
from pathlib import Path

PROC = Path("/proc")


def parse_routes(table: str) -> list[tuple[str, IPv4Network]]:
    """Interface and destination of each line of /proc/net/route, less the default route."""
    routes: list[tuple[str, IPv4Network]] = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) < 8:
            continue
        address, mask = (int.from_bytes(bytes.fromhex(words[i]), "little") for i in (1, 7))
        if mask:
            routes.append((words[0], IPv4Network((address, mask.bit_count()), strict=False)))
    return routes


def routes() -> list[tuple[str, IPv4Network]]:
    """This machine's IPv4 routes; none are known outside Linux, where the engine is in a virtual machine anyway."""
    try:
        return parse_routes((PROC / "net" / "route").read_text(encoding="ascii"))
    except OSError:
        return []


def listening_fault(address: str, port: int) -> int | None:
    """The errno with which the port cannot be had, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections that are closing do not hold a port, listeners do.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            # A port below 1024 may be refused to us and not to the engine.
            return None if error.errno in (errno.EACCES, errno.EPERM) else error.errno
    return None


def parse_listeners(table: str, port: int) -> set[str]:
    """The inodes of sockets that listen on a port, from /proc/net/tcp or tcp6."""
    inodes: set[str] = set()
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
            inodes.add(words[9])
    return inodes


def listener(port: int) -> str | None:
    """The process that listens on a port, such as `postgres (pid 12)`, where it can be found."""
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        try:
            inodes |= parse_listeners((PROC / "net" / name).read_text(encoding="ascii"), port)
        except OSError:
            continue
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in PROC.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in wanted for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (pid {process.name})"
        except OSError:
            continue
    return None
