"""The local stack: its backend, passphrase, configuration and secrets, all under .state; no tracked file changes.

Every piece is made only if it is missing and appears whole, so that the next run completes one that was cut off.
"""

import json
import os
import secrets
import shutil
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.workstation import atomic
from scripts.workstation.paths import ROOT, STATE
from scripts.workstation.session import Session
from scripts.workstation.shell import answer, logged
from scripts.workstation.trouble import Trouble

PROJECT = "central-data-platform"
NAME = "local"
FOLDER = STATE / "local"
CONFIG = FOLDER / "Pulumi.local.yaml"
PASSPHRASE = FOLDER / "passphrase"
BACKEND = STATE / "backend"
COMMITTED = ROOT / "Pulumi.local.yaml"
MARKER = ".central-data-platform"
SYSTEM_FOLDER = Path("/srv")
_HEADER = "# The local stack's own settings and secrets, made from Pulumi.local.yaml on the first run. Change settings here.\n"

# A new file system brings it; it is nobody's data.
_NOBODYS = {"lost+found"}
_ALPHABET = string.ascii_letters + string.digits + "_-"
SECRET_LENGTHS = {
    "postgresPassword": 32,
    "pgbouncerAuthPassword": 32,
    "redisAdminPassword": 32,
    "saltKey": 43,
}


def generate(length: int) -> str:
    """A secret that every reader of platform.env takes alike."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def exists() -> bool:
    """Whether there is anything of the local stack."""
    return CONFIG.exists() or in_backend()


def in_backend() -> bool:
    """Whether the backend knows the stack."""
    stacks = BACKEND / ".pulumi" / "stacks" / PROJECT
    return any((stacks / f"{NAME}.json{suffix}").exists() for suffix in ("", ".gz"))


def make_folders() -> None:
    """The folders and the passphrase. Never called for another stack."""
    for folder in (STATE, BACKEND):
        folder.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    if not PASSPHRASE.exists():
        if in_backend() and "encryptionsalt" in (_load(CONFIG) if CONFIG.exists() else {}):
            raise Trouble(
                f"{PASSPHRASE} is missing, without which the secrets of {CONFIG} cannot be read; put it back, or move {STATE} away "
                "and run make import-secrets to take them from platform.env"
            )
        atomic.write(PASSPHRASE, generate(43) + "\n", 0o600)
    if not CONFIG.exists():
        _write(CONFIG, _first_configuration())


def _first_configuration() -> dict[str, Any]:
    """The committed settings, with srvRoot where this machine has room for it unless they name a folder of their own."""
    document = _load(COMMITTED) if COMMITTED.exists() else {}
    values = document.get("config") or {}
    key = f"{PROJECT}:srvRoot"
    if values.get(key, str(SYSTEM_FOLDER)) == str(SYSTEM_FOLDER):
        values = values | {key: str(default_srv_root())}
    return document | {"config": values}


def settings() -> dict[str, Any]:
    """The stack's plain settings by their bare keys; secrets are left out."""
    values = _load(CONFIG).get("config") or {}
    return {
        key.partition(":")[2]: value
        for key, value in values.items()
        if key.startswith(f"{PROJECT}:") and not (isinstance(value, dict) and "secure" in value)
    }


def has_secret(key: str) -> bool:
    """Whether the configuration holds a secret, encrypted."""
    value = (_load(CONFIG).get("config") or {}).get(f"{PROJECT}:{key}")
    return isinstance(value, dict) and "secure" in value


def change_settings(changes: Mapping[str, Any]) -> None:
    """Write plain settings; a file that says them already is left as it is."""
    document = _load(CONFIG)
    values = document.setdefault("config", {}) or {}
    document["config"] = values
    wanted = {f"{PROJECT}:{key}": value for key, value in changes.items()}
    if any(values.get(key) != value for key, value in wanted.items()):
        values.update(wanted)
        _write(CONFIG, document)


def default_srv_root(system_folder: Path = SYSTEM_FOLDER, *, root: bool | None = None) -> Path:
    """/srv for root where it is empty or ours, else an ignored folder of the checkout."""
    as_root = os.geteuid() == 0 if root is None else root
    if as_root and owner_of(system_folder) in (NAME, ""):
        return system_folder
    return ROOT / "srv"


def owner_of(folder: Path) -> str | None:
    """The stack whose marker a folder bears; empty for an empty or missing folder, None where it holds something else."""
    try:
        marker = (folder / MARKER).read_text(encoding="utf-8").splitlines()
        return marker[0] if marker else None
    except FileNotFoundError:
        pass
    except OSError:
        return None
    try:
        return None if {entry.name for entry in folder.iterdir()} - _NOBODYS else ""
    except FileNotFoundError:
        return ""
    except OSError:
        return None


def initialise(session: Session) -> bool:
    """Make the stack in the backend. Returns whether it is new."""
    if in_backend():
        return False
    # `stack init` writes beside the project file, so it gets one of its own, beside the stack's own configuration.
    project = yaml.safe_dump({"name": PROJECT, "runtime": "python"})
    atomic.write(FOLDER / "Pulumi.yaml", project)
    logged(
        [session.executable, "-C", str(FOLDER), "stack", "init", NAME, "--no-select", "--non-interactive"],
        log="stack-init",
        failure="the local stack could not be made",
        environment=session.environment,
    )
    return True


def generate_secrets(session: Session) -> list[str]:
    """Give the stack those secrets that it lacks. Returns their keys."""
    missing = [key for key in SECRET_LENGTHS if not has_secret(key)]
    set_secrets(session, {key: generate(SECRET_LENGTHS[key]) for key in missing})
    return missing


def set_secrets(session: Session, values: Mapping[str, str]) -> None:
    """Encrypt secrets into the configuration, all or none; they travel on standard input."""
    if not values:
        return
    work = CONFIG.with_name("Pulumi.local.new.yaml")
    shutil.copyfile(CONFIG, work)
    work.chmod(0o600)
    try:
        for key, value in values.items():
            logged(
                [
                    *(session.executable, "config", "set", "--secret", f"{PROJECT}:{key}"),
                    *("--stack", NAME, "--config-file", str(work), "--non-interactive"),
                ],
                log="config-set",
                failure=f"the secret {key} could not be set",
                environment=session.environment,
                cwd=ROOT,
                stdin=value,
            )
        work.replace(CONFIG)
    finally:
        work.unlink(missing_ok=True)


def containers_in_state(session: Session) -> dict[str, str]:
    """The Docker ids, by container name, of the containers that the stack's state holds."""
    said = answer(session.words("stack", "export"), environment=session.environment)
    if said.returncode:
        raise Trouble(
            f"the state of the local stack cannot be read: {said.stderr.strip().removeprefix('error: ')}"
        )
    resources = (json.loads(said.stdout).get("deployment") or {}).get("resources") or []
    return {
        str(resource["outputs"]["name"]): str(resource["id"])
        for resource in resources
        if resource.get("type") == "docker:index/container:Container"
        and resource.get("id")
        and not resource.get("delete")
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    atomic.write(path, _HEADER + yaml.safe_dump(document, sort_keys=False), 0o600)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Trouble(f"{path} is not YAML ({str(error).splitlines()[0]}); correct it") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Trouble(
            f"{path} does not hold keys and values; correct it, or delete it to begin with {COMMITTED.name} again"
        )
    return document
