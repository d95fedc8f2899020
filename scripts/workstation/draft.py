"""A stack's plain settings while the operator is still asked: checked by the program's own rules before anything is written."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from components.settings import PROJECT, Settings, SettingsError, parse
from scripts.workstation.placeholders import is_placeholder

Path = tuple[str, ...]

# Stands for what has not been answered yet, so that what has can be checked by itself.
_SAMPLE_HOST = {
    "kind": "oci",
    "region": "eu-frankfurt-1",
    "tenancy": "ocid1.tenancy.oc1..sample",
    "compartment": "ocid1.compartment.oc1..sample",
    "sshCidrs": ["203.0.113.7/32"],
    "sshPublicKey": "ssh-ed25519 " + "A" * 68,
}


class Draft:
    """Settings by their keys, without those that only mark a place, and what has been changed in them."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = _without_placeholders(copy.deepcopy(dict(settings)))
        self.changes: dict[Path, Any] = {}
        if (self.settings.get("host") or {}).get("kind") != "oci":
            self.change(("host", "kind"), "oci")

    def value(self, path: Path) -> Any:
        """What is said at a path, or None."""
        found: Any = self.settings
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def change(self, path: Path, value: Any) -> None:
        """Say something at a path, or nothing any more where `value` is None."""
        if self.value(path) == value:
            return
        parent = self.settings
        for key in path[:-1]:
            parent = parent.setdefault(key, {})
        if value is None:
            parent.pop(path[-1], None)
        else:
            parent[path[-1]] = value
        self.changes[path] = value

    def faults(self) -> list[str]:
        """The program's own sentences about all that is said."""
        return _faults(self.settings)

    def faults_of(self, key: str, later: Sequence[str]) -> list[str]:
        """The sentences about one key, less those about what is asked later."""
        host = {**_SAMPLE_HOST, **(self.settings.get("host") or {})}
        found = _faults({**self.settings, "host": host})
        return [
            sentence
            for sentence in found
            if _names(sentence, key) and not any(_names(sentence, other) for other in later)
        ]


def _faults(raw: Mapping[str, Any]) -> list[str]:
    try:
        parse(Settings, raw, where=f"{PROJECT}:")
    except SettingsError as error:
        return str(error).splitlines()
    return []


def _names(sentence: str, key: str) -> bool:
    # What was said stands in quotes, and may hold such a word too.
    return bool(re.search(rf"\b{re.escape(key)}\b", re.sub(r"'[^']*'", "", sentence)))


def _without_placeholders(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_placeholders(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if isinstance(value, dict) or not is_placeholder(value)
    }
