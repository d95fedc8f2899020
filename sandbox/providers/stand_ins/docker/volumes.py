"""Volume."""

import time
from typing import Any

from sandbox.providers.stand_ins.docker.container_spec import labels
from sandbox.providers.stand_ins.docker.engine import Engine, EngineError
from sandbox.providers.stand_ins.docker.kinds import VOLUME
from sandbox.providers.stand_ins.errors import ProviderError

_REMOVE_TIMEOUT_SECONDS = 30


class Volume:
    """A named volume; every change replaces it."""

    kind = VOLUME

    def create(self, engine: Engine, inputs: dict[str, Any]) -> str:
        """Create the volume; its id is its name."""
        body = {
            "Name": inputs["name"],
            "Labels": labels(inputs.get("labels", [])),
            "Driver": inputs.get("driver"),
            "DriverOpts": inputs.get("driverOpts"),
        }
        try:
            return engine.post("/volumes/create", {key: value for key, value in body.items() if value})[
                "Name"
            ]
        except ProviderError as error:
            raise ProviderError(f"Unable to create volume: {error}") from error

    def complete(self, engine: Engine, resource_id: str, inputs: dict[str, Any]) -> None:
        """A volume is complete once it exists."""

    def read(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """All properties; None if the volume is gone."""
        try:
            volume = engine.get(f"/volumes/{resource_id}")
        except EngineError as error:
            if error.status == 404:
                return None
            raise ProviderError(f"Unable to inspect volume: {error}") from error
        return {
            "name": volume["Name"],
            "labels": [{"label": key, "value": value} for key, value in (volume["Labels"] or {}).items()],
            "driver": volume["Driver"],
            "driverOpts": volume["Options"] or {},
            "mountpoint": volume["Mountpoint"],
        }

    def update(self, engine: Engine, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Never called with a change: every input replaces the volume."""

    def delete(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> None:  # noqa: ARG002
        """Remove the volume, waiting while a container still uses it."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_SECONDS
        while True:
            try:
                engine.delete(f"/volumes/{resource_id}", force="1")
            except EngineError as error:
                if "volume is in use" not in str(error):
                    raise
            else:
                return
            if time.monotonic() > deadline:
                raise ProviderError(
                    "timeout while waiting for state to become 'removed' "
                    f"(last state: 'in_use', timeout: {_REMOVE_TIMEOUT_SECONDS}s)"
                )
            time.sleep(0.5)
