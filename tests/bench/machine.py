"""What there is to know of the machine that figures are of."""

import os
import platform
import subprocess
from pathlib import Path

from tests.engine.platform import CHECKOUT, Platform


def machine(on: Platform) -> dict[str, str]:
    """By its name: processors, memory, and the versions of what was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processors": f"{os.cpu_count()} of {model}",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "Pulumi": on.pulumi("version").strip(),
        "Docker": on.docker("version", "--format", "{{.Server.Version}}"),
        "PostgreSQL": on.psql("SHOW server_version"),
        "Redis": on.docker("exec", "redis-cache", "redis-server", "--version").split("v=")[1].split()[0],
        "PgBouncer": on.docker("exec", "pgbouncer", "pgbouncer", "--version").split()[1],
    }


def commit() -> str:
    """The checkout's, with a word where files differ from it."""
    words = ["git", "describe", "--always", "--dirty=, with changes", "--exclude=*"]
    return subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()
