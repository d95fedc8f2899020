"""actionlint over the workflows: the one on PATH, else built from Go modules into the cache. Part of `make check`."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.workstation import go_build
from scripts.workstation.paths import CACHE, ROOT
from scripts.workstation.pinned import actionlint_version, content_key
from scripts.workstation.progress import Progress, Step
from scripts.workstation.trouble import command


def main() -> int:
    """actionlint's own exit code."""
    with Progress(1, sys.stderr).step("actionlint") as step:
        program = find_or_build(step)
    # It finds .github/workflows and its configuration by itself, and shellcheck on PATH.
    return subprocess.run([program], cwd=ROOT, check=False).returncode


def find_or_build(step: Step) -> str:
    """The program, made in the cache on the first need. Raises Trouble where there is none and Go is missing."""
    if found := shutil.which("actionlint"):
        step.result("from PATH")
        return found
    version = actionlint_version()
    built = CACHE / "toolchain" / f"actionlint-{version}-{content_key('actionlint')}" / "actionlint"
    if not built.exists():
        go_build.require_go("actionlint is not on PATH, which looks at the workflows; install it, or Go")
        step.expect(f"building actionlint {version} from Go modules (half a minute, once)")
        _build(version, built)
    step.result(f"{version} from the cache")
    return str(built)


def _build(version: str, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as work:
        output = Path(work) / "actionlint"
        module = "github.com/rhysd/actionlint"
        go_build.build(
            "actionlint", f"{module}/cmd/actionlint", output, stamps=(f"{module}.version={version}",)
        )
        output.rename(destination)


if __name__ == "__main__":
    command(main)
