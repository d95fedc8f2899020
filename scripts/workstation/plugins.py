"""The provider plugins: the published ones, or, where the vendor's site cannot be reached, all of them as stand-ins.

Never mixed: the stand-ins live in a PULUMI_HOME of their own.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

from scripts.workstation import atomic, choices, network, release
from scripts.workstation.choices import Choice
from scripts.workstation.paths import ROOT, STATE
from scripts.workstation.progress import Step
from scripts.workstation.shell import logged
from scripts.workstation.trouble import Trouble

STAND_IN_HOME = STATE / "pulumi-home"
_PACKAGES = {"docker": "pulumi_docker", "command": "pulumi_command", "oci": "pulumi_oci"}


def needed(host_kind: str) -> tuple[str, ...]:
    """The plugins that a stack with such a host uses."""
    return ("docker", "command", "oci") if host_kind == "oci" else ("docker", "command")


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


def choose(step: Step, pulumi: str, host_kind: str) -> Choice:
    """Have the plugins ready, as published or as stand-ins; `pulumi` is the CLI to install them with."""
    wanted = {plugin: version_of(plugin) for plugin in needed(host_kind)}
    choice = choices.recorded("plugins")
    names = ", ".join(f"{plugin} {version}" for plugin, version in wanted.items())
    if choice != "stand-ins":
        missing = {p: v for p, v in wanted.items() if not installed(own_home(), p, v)}
        # One question with a short timeout: the CLI itself would try five times and wait long.
        if missing and not network.answers(release.base_url()):
            if choice == "published":
                raise Trouble(
                    f"plugin {', '.join(missing)} is missing, its download site does not answer, and this stack was made with the "
                    "published plugins; connect to the network and run the same command again"
                )
            return _stand_ins(step, names)
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
    return _stand_ins(step, names)


def _stand_ins(step: Step, names: str) -> Choice:
    script = ROOT / "sandbox" / "providers" / "install.sh"
    # The wrappers name the checkout and the interpreter; what they run is read from the checkout each time.
    made_from = f"{names}\n{sys.executable}\n{script}\n{script.read_text(encoding='utf-8')}"
    stamp = STAND_IN_HOME / "made-from"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == made_from):
        logged(
            ["sh", str(script), str(STAND_IN_HOME), sys.executable],
            log="plugins-stand-ins",
            failure="the stand-in plugins could not be installed",
        )
        atomic.write(stamp, made_from)
    choices.record("plugins", "stand-ins")
    step.result(f"{names}: stand-ins of sandbox/providers, kept until make destroy")
    return "stand-ins"
