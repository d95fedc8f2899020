"""How pulumi is called for a stack: its environment, and which options go with it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from scripts.workstation.paths import ROOT, VENV
from scripts.workstation.toolchain import Toolchain

POLICY_PACK = ROOT / "policy"

# A stack that is made here has its own of each; the user's would reach into another stack.
_FOREIGN = (
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_STACK",
    "PULUMI_CONFIG",
    "DOCKER_CONTEXT",
    "PYTHONHOME",
    "PYTHONPATH",
)


@dataclass(frozen=True, kw_only=True)
class Session:
    """pulumi for one stack. The environment is kept out of every representation."""

    stack: str
    environment: dict[str, str] = field(repr=False)
    config_file: Path | None = None
    executable: str = "pulumi"

    @property
    def own(self) -> bool:
        """Whether it is a stack that is made here, with a configuration file of its own."""
        return self.config_file is not None

    def words(self, *command: str, config: bool = False, policies: bool = True) -> list[str]:
        """A command line for this stack; `config` where the command reads its configuration. What it would change is held to policy/."""
        options = ["--config-file", str(self.config_file)] if config and self.config_file else []
        if policies and command[0] in ("preview", "up"):
            options += ["--policy-pack", str(POLICY_PACK)]
        return [self.executable, *command, "--stack", self.stack, *options]


def complaint(stderr: str) -> str:
    """What pulumi says of its failure, as the end of a sentence."""
    if "PULUMI_ACCESS_TOKEN" in stderr:
        return "pulumi is not logged in to the backend where your stacks are; run pulumi login, with its address, first"
    return stderr.strip().removeprefix("error: ").rstrip(".")


def search_path(toolchain: Toolchain) -> str:
    """PATH with the virtual environment first: a language host that does not know `virtualenv` finds it there."""
    folders = [str(VENV / "bin"), *([str(toolchain.folder)] if toolchain.folder else [])]
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def executable(toolchain: Toolchain) -> str:
    """The pulumi to run, whatever is first on the caller's PATH."""
    return str(toolchain.folder / "pulumi") if toolchain.folder else "pulumi"


def remote_session(stack: str, toolchain: Toolchain) -> Session:
    """A stack of the user's own backend: our toolchain and virtual environment, and the rest as the user has it."""
    return Session(
        stack=stack,
        environment={**os.environ, "PATH": search_path(toolchain), "VIRTUAL_ENV": str(VENV)},
        executable=executable(toolchain),
    )


def stand_in_environment(home: Path) -> dict[str, str]:
    """What makes pulumi use the stand-in plugins of a PULUMI_HOME, and no others."""
    return {"PULUMI_HOME": str(home), "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}


def own_session(
    stack: str,
    toolchain: Toolchain,
    *,
    backend: Path,
    passphrase: Path,
    config_file: Path,
    docker_host: str,
    home: Path | None,
    further: Mapping[str, str] | None = None,
) -> Session:
    """A stack that is made here: a file backend, a passphrase file, and, with plugins of our own, a PULUMI_HOME of only those."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | {
        "PATH": search_path(toolchain),
        "VIRTUAL_ENV": str(VENV),
        "PULUMI_BACKEND_URL": f"file://{quote(str(backend))}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "DOCKER_HOST": docker_host,
    }
    if home:
        environment |= stand_in_environment(home)
    return Session(
        stack=stack,
        environment=environment | dict(further or {}),
        config_file=config_file,
        executable=executable(toolchain),
    )
