"""The provider plugins: the published ones, or, where the vendor's site cannot be reached, all of them as stand-ins.

Never mixed: the stand-ins live in a PULUMI_HOME of their own.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.workstation import atomic, network, release
from scripts.workstation.choices import Choice, Choices
from scripts.workstation.paths import ROOT
from scripts.workstation.progress import Step
from scripts.workstation.shell import logged
from scripts.workstation.trouble import Trouble

# What every host needs, and what is simulated for a host in OCI.
NEEDED = ("docker", "command")
SIMULATED = "oci"
_PACKAGES = {"docker": "pulumi_docker", "command": "pulumi_command", "oci": "pulumi_oci"}


def version_of(plugin: str) -> str:
    """The version that the installed Python package asks for."""
    spec = importlib.util.find_spec(_PACKAGES[plugin])
    if spec is None or spec.origin is None:
        raise Trouble(f"the Python package {_PACKAGES[plugin]} is not installed; run make setup")
    described = json.loads(Path(spec.origin).with_name("pulumi-plugin.json").read_text(encoding="utf-8"))
    return str(described["version"]).removeprefix("v")


def installed(home: Path, plugin: str, version: str) -> bool:
    """Whether a PULUMI_HOME holds a plugin, whole."""
    folder = home / "plugins" / f"resource-{plugin}-v{version}"
    return (folder / f"pulumi-resource-{plugin}").exists() and not folder.with_name(
        f"{folder.name}.partial"
    ).exists()


def own_home() -> Path:
    """The user's PULUMI_HOME."""
    return Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")


def choose(step: Step, pulumi: str, choices: Choices, home: Path) -> Choice:
    """Have the plugins ready, as published or, in `home`, as stand-ins; `pulumi` is the CLI to install them with."""
    wanted = {plugin: version_of(plugin) for plugin in NEEDED}
    choice = choices.recorded("plugins")
    names = ", ".join(f"{plugin} {version}" for plugin, version in wanted.items())
    if choice != "stand-ins":
        missing = {p: v for p, v in wanted.items() if not installed(own_home(), p, v)}
        # One question with a short timeout: the CLI itself would try five times and wait long.
        if not missing or network.answers(release.base_url()):
            for plugin, version in missing.items():
                step.expect(f"downloading {plugin} {version} (about a minute)")
                logged(
                    [pulumi, "plugin", "install", "resource", plugin, version],
                    log=f"plugin-{plugin}",
                    failure=f"the plugin {plugin} {version} could not be installed",
                    environment={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
                    timeout=900,
                )
            choices.record("plugins", "published")
            step.result(f"{names}, as published")
            return "published"
        if choice == "published":
            raise Trouble(
                f"plugin {', '.join(missing)} is missing, its download site does not answer, and this stack was made with the "
                "published plugins; connect to the network and run the same command again"
            )
    install_stand_ins(home, NEEDED)
    choices.record("plugins", "stand-ins")
    step.result(f"{names}: stand-ins of sandbox/providers, kept until make destroy")
    return "stand-ins"


def simulate(step: Step, pulumi: str, choices: Choices, home: Path) -> None:
    """Have in `home` the simulated OCI, and beside it the other plugins as they were chosen."""
    chosen = choose(step, pulumi, choices, home)
    if chosen == "published":
        for plugin in NEEDED:
            link(home, plugin)
    install_stand_ins(home, (SIMULATED,))
    words = "as published" if chosen == "published" else "stand-ins of sandbox/providers"
    step.result(f"{SIMULATED} is a simulation; {' and '.join(NEEDED)} are {words}")


def install_stand_ins(home: Path, names: Sequence[str]) -> None:
    """Install stand-ins into a PULUMI_HOME. Quick when they are there."""
    script = ROOT / "sandbox" / "providers" / "install.sh"
    versions = [f"{name} {version_of(name)}" for name in names]
    # The wrappers name the checkout and the interpreter; what they run is read from the checkout each time.
    made_from = "\n".join([*versions, sys.executable, str(script), script.read_text(encoding="utf-8")])
    stamp = home / f"made-from-{'-'.join(names)}"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == made_from):
        logged(
            ["sh", str(script), str(home), sys.executable, *names],
            log="plugins-stand-ins",
            failure="the stand-in plugins could not be installed",
        )
        atomic.write(stamp, made_from)


def link(home: Path, plugin: str) -> None:
    """The user's own plugin, seen from another PULUMI_HOME."""
    name = f"resource-{plugin}-v{version_of(plugin)}"
    folder = home / "plugins" / name
    # A folder of links: for pulumi, a link in place of the folder is no plugin.
    folder.mkdir(parents=True, exist_ok=True)
    for source in (own_home() / "plugins" / name).iterdir():
        (folder / source.name).unlink(missing_ok=True)
        (folder / source.name).symlink_to(source)
