"""`docker compose`: the one that is there, else built from Go modules and installed for the whole machine."""

import os
import shutil
import tempfile
from pathlib import Path

from scripts.workstation import go_build
from scripts.workstation.engine import Engine
from scripts.workstation.paths import CACHE
from scripts.workstation.pinned import compose_version, content_key
from scripts.workstation.progress import Progress, Step
from scripts.workstation.shell import answer
from scripts.workstation.trouble import Trouble, command

# Where root's and every user's docker look for it: the host's own commands use it too.
PLUGIN = Path("/usr/local/lib/docker/cli-plugins/docker-compose")


def find_or_install(step: Step, engine: Engine) -> None:
    """Make sure that `docker compose` works."""
    said = engine.docker("compose", "version", "--short")
    if said.returncode == 0:
        step.result(f"{said.stdout.strip()}, there already")
        return
    advice = "docker has no compose plugin; install it (Docker's package docker-compose-plugin) and run the same command again"
    if os.geteuid() != 0:
        raise Trouble(advice)
    _install(_built(step, advice))
    said = engine.docker("compose", "version", "--short")
    if said.returncode:
        raise Trouble(f"docker does not run the compose plugin in {PLUGIN}: {said.stderr.strip()}")
    step.result(f"{said.stdout.strip()}, installed as {PLUGIN}")


def main() -> int:
    """Have a compose for the tests that need neither an engine nor an installation."""
    with Progress(1).step("docker compose for the tests") as step:
        for candidate in (["docker", "compose"], ["docker-compose"]):
            if shutil.which(candidate[0]) and answer([*candidate, "version", "--short"]).returncode == 0:
                step.result(f"{' '.join(candidate)}, there already")
                return 0
        step.result(str(_built(step, "docker compose is missing; install it, or Go 1.25 to build it")))
    return 0


def _built(step: Step, advice: str) -> Path:
    """The binary in the cache, made when it is not there. `advice` is what to do where Go is missing."""
    version = compose_version()
    built = CACHE / "toolchain" / f"docker-compose-{version}-{content_key('compose')}" / "docker-compose"
    if not built.exists():
        go_build.require_go(advice)
        step.expect(f"building docker compose {version} from Go modules (about a minute, once)")
        _build(version, built)
    return built


def _build(version: str, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent) as work:
        output = Path(work) / "docker-compose"
        package = "github.com/docker/compose/v5"
        go_build.build("compose", f"{package}/cmd", output, stamps=(f"{package}/internal.Version={version}",))
        output.rename(destination)


def _install(built: Path) -> None:
    PLUGIN.parent.mkdir(parents=True, exist_ok=True)
    new = PLUGIN.with_name(".docker-compose.new")
    shutil.copyfile(built, new)
    new.chmod(0o755)
    new.rename(PLUGIN)


if __name__ == "__main__":
    command(main)
