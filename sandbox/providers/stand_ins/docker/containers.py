"""Container: the life of one container, step by step as the provider does it."""

import time
from typing import Any

from sandbox.providers.stand_ins.comparing import same
from sandbox.providers.stand_ins.docker import container_spec, container_state, uploads
from sandbox.providers.stand_ins.docker.engine import Engine, EngineError
from sandbox.providers.stand_ins.docker.images import find_or_pull
from sandbox.providers.stand_ins.docker.kinds import CONTAINER, RULES
from sandbox.providers.stand_ins.errors import ProviderError

_UPDATED_BY_ENGINE = (
    "restart",
    "maxRetryCount",
    "cpuShares",
    "memory",
    "memoryReservation",
    "cpuSet",
    "memorySwap",
    "deviceReadBps",
    "deviceReadIops",
    "deviceWriteBps",
    "deviceWriteIops",
)
_NO_HEALTHCHECK = (
    "you have supplied a 'wait' argument, but the container does not have a healthcheck defined. "
    "Please remove the 'wait' argument or add a 'healthcheck' attribute"
)


class Container:
    """A container. Whatever fails after its creation leaves it there, recorded as incomplete."""

    kind = CONTAINER

    def create(self, engine: Engine, inputs: dict[str, Any]) -> str:
        """Create, without starting, from an image that is pulled if it is missing."""
        image = {"name": inputs["image"], "platform": inputs.get("platform", "")}
        find_or_pull(engine, image, f"Unable to create container with image {inputs['image']}")
        query = {"name": inputs["name"], "platform": inputs.get("platform")}
        try:
            return engine.post("/containers/create", container_spec.body(inputs), **query)["Id"]
        except EngineError as error:
            raise ProviderError(f"Unable to create container: {error}") from error

    def complete(self, engine: Engine, resource_id: str, inputs: dict[str, Any]) -> None:
        """Connect, upload, start and wait, in that order."""
        self._connect(engine, resource_id, inputs.get("networksAdvanced", []))
        for upload in inputs.get("uploads", []):
            archive = uploads.archive(upload)
            try:
                engine.put_archive(f"/containers/{resource_id}/archive", archive)
            except EngineError as error:
                raise ProviderError(f"Unable to upload volume content: {error}") from error
        if inputs.get("start"):
            _start(engine, resource_id)
            if inputs.get("wait"):
                _wait_until_healthy(engine, resource_id, inputs["waitTimeout"])
        if inputs.get("attach"):
            engine.post(f"/containers/{resource_id}/wait", condition="not-running")

    def read(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> dict[str, Any] | None:
        """What the provider reads back; None if the container is gone."""
        try:
            container = engine.get(f"/containers/{resource_id}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        found = container_state.properties(container, state)
        if state.get("attach") and state.get("logs") and "containerLogs" not in state:
            found["containerLogs"] = engine.log_output(resource_id, bool(state.get("tty")))
        return found

    def update(self, engine: Engine, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Start a container that must run again; change limits. Other inputs change in the state only."""
        if new.get("mustRun") and not old.get("mustRun") and new.get("start"):
            _start(engine, resource_id)
        if all(same(old.get(name), new.get(name), RULES, name) for name in _UPDATED_BY_ENGINE):
            return
        try:
            engine.post(f"/containers/{resource_id}/update", container_spec.update_body(new))
        except EngineError as error:
            raise ProviderError(f"Unable to update a container: {error}") from error

    def delete(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> None:
        """Stop within destroyGraceSeconds (at once without it), then remove.

        As in the provider, a container that is gone already fails at the stop.
        """
        if not state.get("attach"):
            grace = max(state.get("destroyGraceSeconds", 0), 0)
            try:
                engine.post(f"/containers/{resource_id}/stop", t=grace)
            except EngineError as error:
                raise ProviderError(f"Error stopping container {resource_id}: {error}") from error
        volumes = "1" if state.get("removeVolumes") else ""
        links = "1" if state.get("rm") else ""
        try:
            engine.delete(f"/containers/{resource_id}", v=volumes, link=links, force="1")
        except EngineError as error:
            if not _is_going(error):
                raise ProviderError(f"Error deleting container {resource_id}: {error}") from error
        condition = "removed" if state.get("rm") else "not-running"
        try:
            engine.post(f"/containers/{resource_id}/wait", condition=condition)
        except EngineError as error:
            if not _is_going(error):
                raise ProviderError(
                    f"Error waiting for container removal '{resource_id}': {error}"
                ) from error

    def _connect(self, engine: Engine, resource_id: str, networks: list[dict[str, Any]]) -> None:
        if not networks:
            return
        try:
            engine.post("/networks/bridge/disconnect", {"Container": resource_id, "Force": False})
        except EngineError as error:
            if "is not connected to the network bridge" not in str(error):
                raise ProviderError(f"Unable to disconnect the default network: {error}") from error
        for network in networks:
            body = {"Container": resource_id, "EndpointConfig": container_spec.endpoint(network)}
            try:
                engine.post(f"/networks/{network['name']}/connect", body)
            except EngineError as error:
                raise ProviderError(f"Unable to connect to network '{network['name']}': {error}") from error


def _start(engine: Engine, resource_id: str) -> None:
    try:
        engine.post(f"/containers/{resource_id}/start")
    except EngineError as error:
        raise ProviderError(f"Unable to start container: {error}") from error


def _wait_until_healthy(engine: Engine, resource_id: str, timeout: int) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            status = engine.get(f"/containers/{resource_id}/json")["State"]
        except EngineError as error:
            raise ProviderError(f"error inspecting container state: {error}") from error
        if not status.get("Health"):
            raise ProviderError(_NO_HEALTHCHECK)
        if status["Health"]["Status"] == "healthy":
            return
        time.sleep(0.5)
    raise ProviderError("container failed to be in healthy state")


def _is_going(error: EngineError) -> bool:
    return "No such container" in str(error) or "is already in progress" in str(error)
