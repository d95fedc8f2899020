"""What a stand-in tells the engine when something goes wrong."""

from typing import Any


class ProviderError(Exception):
    """A failure whose text the operator reads as it is."""


def not_part(what: str) -> str:
    """The sentence for a part of the schema that a stand-in refuses."""
    return f"{what} not part of this stand-in; use the published plugin for it."


class InitializationFailedError(ProviderError):
    """The resource exists but could not be completed: the engine keeps it in the state, marked as failed."""

    def __init__(self, reason: str, resource_id: str, properties: dict[str, Any]) -> None:
        super().__init__(reason)
        self.resource_id = resource_id
        self.properties = properties
