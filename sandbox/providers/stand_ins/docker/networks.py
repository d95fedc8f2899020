"""Network."""

import time
from typing import Any

from sandbox.providers.stand_ins.docker.container_spec import labels
from sandbox.providers.stand_ins.docker.engine import Engine, EngineError
from sandbox.providers.stand_ins.docker.kinds import NETWORK
from sandbox.providers.stand_ins.errors import ProviderError

_REMOVE_TIMEOUT_SECONDS = 30


class Network:
    """A network; every change replaces it."""

    kind = NETWORK

    def create(self, engine: Engine, inputs: dict[str, Any]) -> str:
        """Create the network; a second one of the same name is refused by the engine."""
        ipam = {
            "Driver": inputs.get("ipamDriver"),
            "Options": inputs.get("ipamOptions"),
            "Config": [_pool(pool) for pool in inputs.get("ipamConfigs", [])],
        }
        body = {
            "Name": inputs["name"],
            "CheckDuplicate": True,
            "Labels": labels(inputs.get("labels", [])),
            "Driver": inputs.get("driver"),
            "Options": inputs.get("options"),
            "Internal": inputs.get("internal"),
            "Attachable": inputs.get("attachable"),
            "Ingress": inputs.get("ingress"),
            "EnableIPv6": inputs.get("ipv6"),
            "IPAM": {key: value for key, value in ipam.items() if value},
        }
        try:
            return engine.post("/networks/create", {key: value for key, value in body.items() if value})["Id"]
        except ProviderError as error:
            raise ProviderError(f"Unable to create network: {error}") from error

    def complete(self, engine: Engine, resource_id: str, inputs: dict[str, Any]) -> None:
        """A network is complete once it exists."""

    def read(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Everything but the IPAM options; None if the network is gone."""
        try:
            network = engine.get(f"/networks/{resource_id}")
        except EngineError:
            return None
        return {
            "name": network["Name"],
            "labels": [{"label": key, "value": value} for key, value in (network["Labels"] or {}).items()],
            "driver": network["Driver"],
            "internal": network["Internal"],
            "attachable": network["Attachable"],
            "ingress": network["Ingress"],
            "ipv6": network["EnableIPv6"],
            "ipamDriver": network["IPAM"]["Driver"],
            "scope": network["Scope"],
            "options": network["Options"] or {},
            "ipamConfigs": [_read_pool(pool) for pool in network["IPAM"]["Config"] or []],
        }

    def update(self, engine: Engine, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Never called with a change: every input replaces the network."""

    def delete(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> None:  # noqa: ARG002
        """Remove the network, waiting for its last endpoints to go."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_SECONDS
        while True:
            try:
                engine.delete(f"/networks/{resource_id}")
            except EngineError as error:
                if error.status == 404:
                    return
                if "has active endpoints" not in str(error):
                    raise
            else:
                return
            if time.monotonic() > deadline:
                raise ProviderError(
                    "timeout while waiting for state to become 'removed' "
                    f"(last state: 'pending', timeout: {_REMOVE_TIMEOUT_SECONDS}s)"
                )
            time.sleep(0.5)


def _pool(pool: dict[str, Any]) -> dict[str, Any]:
    found = {
        "Subnet": pool.get("subnet"),
        "IPRange": pool.get("ipRange"),
        "Gateway": pool.get("gateway"),
        "AuxiliaryAddresses": pool.get("auxAddress"),
    }
    return {key: value for key, value in found.items() if value}


def _read_pool(pool: dict[str, Any]) -> dict[str, Any]:
    found = {
        "subnet": pool.get("Subnet"),
        "ipRange": pool.get("IPRange"),
        "gateway": pool.get("Gateway"),
        "auxAddress": pool.get("AuxiliaryAddresses"),
    }
    return {key: value for key, value in found.items() if value}
