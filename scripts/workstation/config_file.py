"""A stack's file, Pulumi.<stack>.yaml: its plain settings, and its secrets, which only pulumi can read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.application_settings import APPLICATION_PASSWORDS
from scripts.workstation import atomic, yaml_edit
from scripts.workstation.paths import ROOT
from scripts.workstation.trouble import Trouble

PROJECT = "central-data-platform"
# The bare key of a secret, and, where that is an object, the keys within it.
SecretPath = tuple[str, ...]


def place(path: SecretPath) -> tuple[str, ...]:
    """Where something of ours is in the document."""
    return ("config", f"{PROJECT}:{path[0]}", *path[1:])


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
            if key.startswith(f"{PROJECT}:")
            and key != f"{PROJECT}:{APPLICATION_PASSWORDS}"
            and not (isinstance(value, dict) and "secure" in value)
        }

    def host(self) -> dict[str, Any]:
        """What the settings say of the host; nothing where there is no file yet."""
        return (self.settings().get("host") or {}) if self.exists() else {}

    def value(self, *path: str) -> Any:
        """What the file holds at a bare key and the keys within it, as it is written there, or None."""
        found: Any = self.load() if self.exists() else None
        for key in place(path):
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def has_secret(self, *path: str) -> bool:
        """Whether the file holds a secret, encrypted."""
        value = self.value(*path)
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

    def remove(self, *path: str) -> None:
        """Take a value out; the file's comments stay."""
        text = yaml_edit.remove(self.path.read_text(encoding="utf-8"), place(path))
        atomic.write(self.path, text, self.path.stat().st_mode & 0o777)


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
