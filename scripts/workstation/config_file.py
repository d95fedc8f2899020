"""A stack's file, Pulumi.<stack>.yaml: its plain settings, and its secrets, which only pulumi can read."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.workstation import atomic
from scripts.workstation.paths import ROOT
from scripts.workstation.session import Session
from scripts.workstation.shell import logged
from scripts.workstation.trouble import Trouble

PROJECT = "central-data-platform"


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """One file; `header` is written above what `write` writes."""

    path: Path
    header: str = ""

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def load(self) -> dict[str, Any]:
        """All that the file says. Raises Trouble where that is not keys and values."""
        return load(self.path)

    def settings(self) -> dict[str, Any]:
        """The plain settings by their bare keys; secrets are left out."""
        values = self.load().get("config") or {}
        return {
            key.partition(":")[2]: value
            for key, value in values.items()
            if key.startswith(f"{PROJECT}:") and not (isinstance(value, dict) and "secure" in value)
        }

    def host(self) -> dict[str, Any]:
        """What the settings say of the host; nothing where there is no file yet."""
        return (self.settings().get("host") or {}) if self.exists() else {}

    def has_secret(self, key: str) -> bool:
        """Whether the file holds a secret, encrypted."""
        if not self.exists():
            return False
        value = (self.load().get("config") or {}).get(f"{PROJECT}:{key}")
        return isinstance(value, dict) and "secure" in value

    def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Write plain settings; a file that says them already is left as it is."""
        document = self.load()
        values = document.setdefault("config", {}) or {}
        document["config"] = values
        wanted = {f"{PROJECT}:{key}": value for key, value in changes.items()}
        if any(values.get(key) != value for key, value in wanted.items()):
            values.update(wanted)
            self.write(document)

    def write(self, document: Mapping[str, Any]) -> None:
        """Write the whole file, for its owner alone."""
        atomic.write(self.path, self.header + yaml.safe_dump(dict(document), sort_keys=False), 0o600)

    def set_secrets(self, session: Session, values: Mapping[str, str]) -> None:
        """Encrypt secrets into the file, all or none; they travel on standard input."""
        if not values:
            return
        work = self.path.with_name(f"{self.path.stem}.new.yaml")
        shutil.copy(self.path, work)
        try:
            for key, value in values.items():
                logged(
                    [
                        *(session.executable, "config", "set", "--secret", f"{PROJECT}:{key}"),
                        *("--stack", session.stack, "--config-file", str(work), "--non-interactive"),
                    ],
                    log="config-set",
                    failure=f"the secret {key} of stack {session.stack} could not be set",
                    environment=session.environment,
                    cwd=ROOT,
                    stdin=value,
                )
            work.replace(self.path)
        finally:
            work.unlink(missing_ok=True)


def of_stack(name: str) -> ConfigFile:
    """The file of a stack of the user's own backend, in the checkout."""
    return ConfigFile(path=ROOT / f"Pulumi.{name}.yaml")


def load(path: Path) -> dict[str, Any]:
    """A YAML file of keys and values. Raises Trouble where it is not one."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise Trouble(f"{path} is not YAML ({str(error).splitlines()[0]}); correct it") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Trouble(f"{path} does not hold keys and values; correct it, or delete it to begin anew")
    return document
