"""What the schema of a bridged provider says about a resource type, beyond the names and types of its inputs.

Names and types come from the SDK package (inputs.py). The rest is nowhere in the SDK; it follows the
provider's source (see ../README.md).
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sandbox.providers.stand_ins.comparing import Rules


@dataclass(frozen=True)
class Kind:
    """One resource type."""

    package: str
    """Python package of the SDK with the class of its inputs."""
    arguments: str
    """Name of that class."""
    rules: Rules
    defaults: Mapping[str, Any] = field(default_factory=dict)
    nested_defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()
    """Inputs that the service chooses when the program does not (Optional and Computed in the source)."""
    outputs: frozenset[str] = frozenset()
    """Properties that are never inputs."""
    in_place: frozenset[str] | None = None
    """Inputs that can change without a replacement; None: all that are not in `forced`."""
    forced: frozenset[str] = frozenset()
    """Inputs (or parts of one, `outer.inner`) whose change replaces the resource."""
    refused: frozenset[str] = frozenset()
    """Inputs of the schema that this stand-in does not implement."""
    accepted: frozenset[str] | None = None
    """The only inputs (or parts of one, `outer.inner`) that it implements; None: all but `refused`."""
    blank_keeps: frozenset[str] = frozenset()
    """Inputs for which the provider takes an empty text for the service's choice."""
    auto_named: bool = True
    delete_before_replace: bool = False

    @cached_property
    def argument_class(self) -> type:
        """The SDK class, imported only when there is something to check."""
        return getattr(importlib.import_module(self.package), self.arguments)

    @cached_property
    def names(self) -> frozenset[str]:
        """The inputs in `accepted`, also those that are there in parts."""
        return frozenset(path.partition(".")[0] for path in self.accepted or ())

    def beyond(self, given: Mapping[str, Any]) -> list[str]:
        """The given inputs, or parts of one, that this stand-in does not implement."""
        if self.accepted is None:
            return sorted(self.refused & given.keys())
        found: list[str] = []
        for name in sorted(given.keys() - self.accepted):
            parts = {path for path in self.accepted if path.startswith(f"{name}.")}
            inner = given[name]
            if parts and isinstance(inner, Mapping):
                found += sorted({f"{name}.{part}" for part in inner} - parts)
            elif not parts:
                found.append(name)
        return found

    def replaces(self, path: str) -> bool:
        """Whether a change at `path`, as comparing.changes writes it, replaces the resource."""
        plain = re.sub(r"\[[^]]*]", "", path)
        if self.in_place is not None:
            return plain.partition(".")[0] not in self.in_place
        return any(plain == name or plain.startswith(f"{name}.") for name in self.forced)
