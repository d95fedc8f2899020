"""What a stand-in tells the engine when something goes wrong."""

from typing import Any


class ProviderError(Exception):
    """A failure whose text the operator reads as it is."""


class InitializationFailedError(ProviderError):
    """The resource exists but could not be completed: the engine keeps it in the state, marked as failed."""

    def __init__(self, reason: str, resource_id: str, properties: dict[str, Any]) -> None:
        super().__init__(reason)
        self.resource_id = resource_id
        self.properties = properties
