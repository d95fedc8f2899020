"""Throw-away containers beside the platform's, and the processor time that containers have used."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.engine.platform import PROJECT, Platform

CGROUPS = Path("/sys/fs/cgroup")


def image_of(platform: Platform, container: str) -> str:
    """The image that a container of the platform runs."""
    return platform.docker("inspect", "--format", "{{.Image}}", container)


@contextmanager
def beside(
    platform: Platform, name: str, image: str, options: Sequence[str] = (), command: Sequence[str] = ()
) -> Iterator[str]:
    """A container on the platform's network, by its name; it is gone afterwards, with its anonymous volumes."""
    platform.run(["docker", "rm", "--force", "--volumes", name], check=False)
    platform.docker("run", "--detach", "--name", name, "--network", PROJECT, *options, image, *command)
    try:
        yield name
    finally:
        platform.docker("rm", "--force", "--volumes", name)


def cpu_seconds(platform: Platform, container: str) -> float:
    """Processor time of a container so far, with that of processes which have ended (cgroup v2's cpu.stat, or v1's cpuacct.usage)."""
    pid = platform.docker("inspect", "--format", "{{.State.Pid}}", container)
    places = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, controllers, path in places:
        if "cpuacct" in controllers.split(","):
            return int((CGROUPS / f"cpuacct{path}/cpuacct.usage").read_text()) / 1e9
    unified = next(path for _, controllers, path in places if not controllers)
    words = (CGROUPS / unified.lstrip("/") / "cpu.stat").read_text().split()
    return int(words[words.index("usage_usec") + 1]) / 1e6
