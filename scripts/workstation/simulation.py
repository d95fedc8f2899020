"""What the stack prod-sim has beside a stack in OCI: a key of its own, a cloud in a folder, and a machine in a container."""

import os
import sys
from pathlib import Path

from scripts.workstation import atomic, ssh
from scripts.workstation.engine import Engine
from scripts.workstation.paths import ROOT
from scripts.workstation.progress import Step
from scripts.workstation.shell import logged, require_program
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble


def cloud(own: OwnStack) -> Path:
    """The folder that is the simulated cloud."""
    return own.folder / "oci"


def environment(own: OwnStack) -> dict[str, str]:
    """What tells the simulated `oci` plugin where its cloud is."""
    return {"CDP_SIMULATED_OCI": str(cloud(own))}


def recorded_socket(own: OwnStack) -> str | None:
    """The engine in which the simulated machines are."""
    try:
        return _engine_file(own).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def settle(own: OwnStack, found_engine: Engine) -> None:
    """Make the key pair, and write down the engine and the key in the stack's settings."""
    require_rights()
    require_program("ssh-keygen", "openssh-client")
    ssh.require()
    cloud(own).mkdir(exist_ok=True)
    atomic.write(_engine_file(own), found_engine.socket + "\n")
    key = own.folder / "id_ed25519"
    public = key.with_suffix(".pub")
    if not (key.exists() and public.exists()):
        for cut_off in (key, public):
            cut_off.unlink(missing_ok=True)
        logged(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", own.name, "-f", str(key)],
            log="ssh-keygen",
            failure="the key for the simulated machine could not be made",
        )
    keys = {
        "sshPublicKey": " ".join(public.read_text(encoding="utf-8").split()[:2]),
        "sshKeyFile": str(key),
    }
    own.config.change_settings({"host": {**own.config.host(), **keys}})


def require_rights() -> None:
    """Raises Trouble unless we are root: the machine's disks are loop devices, and its image is made by debootstrap's kind."""
    if os.geteuid() != 0:
        raise Trouble(
            "the stack prod-sim needs root for its disks and its machine; run the same command as root"
        )


def provide_machine(step: Step, found_engine: Engine) -> None:
    """Have the machine's image in the engine."""
    if not found_engine.docker("image", "ls", "--quiet", "cdp-simulated-machine").stdout.strip():
        step.expect("building it from Debian packages (about two minutes, once)")
    logged(
        ["sh", str(ROOT / "sandbox" / "machine" / "provide.sh")],
        log="simulated-machine",
        failure="the simulated machine could not be built",
        environment=found_engine.environment,
    )


def remove_machines(own: OwnStack, found_engine: Engine) -> None:
    """Remove the simulated machines and networks, and let go of the volumes."""
    logged(
        [sys.executable, "-m", "sandbox.machine", "remove", str(cloud(own))],
        log="simulated-machine-remove",
        failure="the simulated machine could not be removed",
        environment=found_engine.environment,
        cwd=ROOT,
    )


def _engine_file(own: OwnStack) -> Path:
    return own.folder / "engine"
