"""Building Go programs from the modules pinned in sandbox/toolchain."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from scripts.workstation.pinned import TOOLCHAIN
from scripts.workstation.shell import answer, logged
from scripts.workstation.trouble import Trouble

MINIMUM: tuple[int, int] = (1, 25)


def go_version(text: str) -> tuple[int, int] | None:
    """Major and minor of `go version`'s answer."""
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else None


def require_go(purpose: str) -> None:
    """Raises Trouble unless a new enough Go is on PATH; `purpose` says what for, and what else would do."""
    said = answer(["go", "version"])
    found = go_version(said.stdout)
    if found is None or found < MINIMUM:
        state = f"go {found[0]}.{found[1]} is too old" if found else "go is not on PATH"
        raise Trouble(f"{purpose}; building it needs Go {MINIMUM[0]}.{MINIMUM[1]} or newer, and {state}")


def build(folder: str, package: str, output: Path, *, stamps: tuple[str, ...] = ()) -> None:
    """Build `package` of sandbox/toolchain/<folder>; `stamps` are linker assignments that tell the program its version."""
    with tempfile.TemporaryDirectory(prefix="central-data-platform-") as work:
        # A copy: -mod=mod may write to go.mod and go.sum, and the checkout stays as it is.
        for name in ("go.mod", "go.sum"):
            shutil.copy(TOOLCHAIN / folder / name, work)
        flags = " ".join(["-s -w", *(f"-X {stamp}" for stamp in stamps)])
        logged(
            ["go", "build", "-mod=mod", "-ldflags", flags, "-o", str(output), package],
            log=f"go-build-{folder}",
            failure=f"go could not build {package}",
            environment=_environment(),
            cwd=Path(work),
        )


def module_folder(module: str, version: str) -> Path:
    """Where the module cache holds a module's sources, downloading them if need be."""
    said = answer(
        ["go", "mod", "download", "-json", f"{module}@{version}"], environment=_environment(), timeout=600
    )
    if said.returncode:
        raise Trouble(f"go could not fetch {module}@{version}: {said.stderr.strip() or said.stdout.strip()}")
    return Path(json.loads(said.stdout)["Dir"])


def _environment() -> dict[str, str]:
    # A go.work around the checkout, or flags of other projects, must not change what is built.
    return {**os.environ, "GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}
