"""The control groups that a systemd in a container needs of the workstation."""

from pathlib import Path

from sandbox.machine.docker import reason, run
from sandbox.machine.errors import MachineError

ROOT = Path("/sys/fs/cgroup")


def provide() -> None:
    """Mount systemd's own hierarchy of version 1, which is missing where no systemd has booted."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    if (ROOT / "cgroup.controllers").exists() or has_systemd_hierarchy(mounts):
        return
    folder = ROOT / "systemd"
    folder.mkdir(exist_ok=True)
    result = run("mount", "-t", "cgroup", "-o", "none,name=systemd", "cgroup", str(folder))
    if result.returncode:
        raise MachineError(
            f"systemd's control groups cannot be mounted on {folder} (only root can): {reason(result)}"
        )


def has_systemd_hierarchy(mountinfo: str) -> bool:
    """Whether a table of mounts holds the hierarchy named systemd."""
    # The fields after the dash: type, source, options of the file system.
    systems = (line.partition(" - ")[2].split() for line in mountinfo.splitlines())
    return any(s[0] == "cgroup" and "name=systemd" in s[2].split(",") for s in systems if len(s) > 2)
