"""The provider: what the engine asks, for all resource types of the stand-in."""

import asyncio
import json
import os
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckFailure,
    CheckRequest,
    CheckResponse,
    ConfigureRequest,
    ConfigureResponse,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    InvokeRequest,
    InvokeResponse,
    Provider,
    ReadRequest,
    ReadResponse,
    UpdateRequest,
    UpdateResponse,
)

from sandbox.providers.stand_ins import bridge
from sandbox.providers.stand_ins import inputs as schema
from sandbox.providers.stand_ins.docker import validation
from sandbox.providers.stand_ins.docker.containers import Container
from sandbox.providers.stand_ins.docker.engine import Engine
from sandbox.providers.stand_ins.docker.images import Image
from sandbox.providers.stand_ins.docker.networks import Network
from sandbox.providers.stand_ins.docker.volumes import Volume
from sandbox.providers.stand_ins.errors import InitializationFailedError, ProviderError, not_part
from sandbox.providers.stand_ins.kind import Kind
from sandbox.providers.stand_ins.values import own_type, plain_map, property_map

_CONFIGURATION = {"host", "sshOpts", "disableDockerDaemonCheck"}


class Resource(Protocol):
    """What a resource type does on the engine; plain values in and out."""

    kind: Kind

    def create(self, engine: Engine, inputs: dict[str, Any]) -> str: ...
    def complete(self, engine: Engine, resource_id: str, inputs: dict[str, Any]) -> None: ...
    def read(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> dict[str, Any] | None: ...
    def update(self, engine: Engine, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None: ...
    def delete(self, engine: Engine, resource_id: str, state: dict[str, Any]) -> None: ...


_RESOURCES: dict[str, Resource] = {
    "docker:index/container:Container": Container(),
    "docker:index/network:Network": Network(),
    "docker:index/remoteImage:RemoteImage": Image(),
    "docker:index/volume:Volume": Volume(),
}


class DockerProvider(Provider):
    """Stands in for the published plugin `docker`."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._engine: Engine | None = None
        self._connecting = threading.Lock()

    async def check_config(self, request: CheckRequest) -> CheckResponse:
        """Refuse settings that the schema does not have, or that this stand-in cannot honour."""
        import pulumi_docker

        given = _configuration(request.new_inputs)
        problems = list(schema.problems(pulumi_docker.ProviderArgs, given, "docker:config"))
        problems += [
            not_part(f"docker:config:{name}:")
            for name in sorted(
                given.keys() & schema.fields_of(pulumi_docker.ProviderArgs).keys() - _CONFIGURATION
            )
        ]
        return CheckResponse(request.new_inputs, [CheckFailure("", problem) for problem in problems])

    async def configure(self, request: ConfigureRequest) -> ConfigureResponse:
        """Remember the settings; like the published plugin, connect only when a resource needs it."""
        self._settings = _configuration(request.args)
        # Secrets stay with the engine, which marks the outputs of secret inputs by itself.
        return ConfigureResponse(supports_preview=True)

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """No function of the package is implemented."""
        raise ProviderError(not_part(f"{request.tok}:"))

    async def check(self, request: CheckRequest) -> CheckResponse:
        """Validate inputs and fill in defaults."""
        kind = _resource(request.type).kind
        given = plain_map(request.new_inputs)
        problems = list(schema.problems(kind.argument_class, given, request.name))
        if not problems and kind is Container.kind:
            problems = list(validation.problems(given, request.name))
        problems += [not_part(f"The input {name!r} is") for name in kind.beyond(given)]
        return bridge.checked(kind, request, problems)

    async def diff(self, request: DiffRequest) -> DiffResponse:
        """Compare inputs with the state."""
        return bridge.difference(_resource(request.type).kind, request)

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Create, complete, read back."""
        resource = _resource(request.type)
        given = plain_map(request.properties)
        if request.preview:
            return CreateResponse(properties=bridge.foreseen(resource.kind, given))
        return await asyncio.to_thread(self._create, resource, request.urn, given)

    async def read(self, request: ReadRequest) -> ReadResponse:
        """The state as it is now."""
        resource = _resource(request.type)
        state = plain_map(request.properties)
        found = await asyncio.to_thread(self._read, resource, request.resource_id, state)
        return bridge.refreshed(resource.kind, request, found)

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        """Change in place what can be changed; the state takes the new inputs as they are."""
        resource = _resource(request.type)
        old, new = plain_map(request.olds), plain_map(request.news)
        if not request.preview:
            try:
                await asyncio.to_thread(self._update, resource, request.resource_id, old, new)
            except ProviderError as error:
                reason = bridge.multiple(f"updating {request.urn}: {bridge.multiple(error)}")
                raise ProviderError(reason) from error
        return UpdateResponse(property_map(bridge.updated(resource.kind, old, new)))

    async def delete(self, request: DeleteRequest) -> None:
        """Remove the resource."""
        resource = _resource(request.type)
        state = plain_map(request.properties)
        try:
            await asyncio.to_thread(lambda: resource.delete(self._connected(), request.resource_id, state))
        except ProviderError as error:
            reason = bridge.multiple(f"deleting {request.urn}: {bridge.multiple(error)}")
            raise ProviderError(reason) from error

    def _create(self, resource: Resource, urn: str, inputs: dict[str, Any]) -> CreateResponse:
        try:
            engine = self._connected()
            resource_id = resource.create(engine, inputs)
        except ProviderError as error:
            raise ProviderError(bridge.multiple(error)) from error
        try:
            resource.complete(engine, resource_id, inputs)
            found = resource.read(engine, resource_id, inputs)
        except ProviderError as error:
            reason = f"creating {urn}: {bridge.multiple(error)}"  # the engine puts it into a list itself
            raise InitializationFailedError(reason, resource_id, inputs) from error
        if found is None:
            raise ProviderError(f"expected non-empty ID for new state during Create of {urn}")
        return CreateResponse(resource_id, property_map(bridge.merged(resource.kind, inputs, found)))

    def _read(self, resource: Resource, resource_id: str, state: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return resource.read(self._connected(), resource_id, state)
        except ProviderError as error:
            raise ProviderError(bridge.multiple(error)) from error

    def _update(self, resource: Resource, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        if bridge.unchanged(resource.kind, old, new):
            return  # only a failed initialization brought us here; the provider does nothing then
        resource.update(self._connected(), resource_id, old, new)

    def _connected(self) -> Engine:
        with self._connecting:
            if self._engine is None:
                self._engine = Engine(
                    self._settings.get("host")
                    or os.environ.get("DOCKER_HOST")
                    or "unix:///var/run/docker.sock",
                    self._settings.get("sshOpts", []),
                    check=not self._settings.get("disableDockerDaemonCheck"),
                )
            return self._engine


def _resource(type_token: str) -> Resource:
    try:
        return _RESOURCES[own_type(type_token)]
    except KeyError:
        raise ProviderError(not_part(f"{type_token}:")) from None


def _configuration(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """Provider settings; the SDK sends everything but strings as JSON text."""
    settings = {name: value for name, value in plain_map(values).items() if name != "version"}
    for name in settings.keys() - {"host"}:
        try:
            settings[name] = json.loads(settings[name])
        except (ValueError, TypeError):
            continue
    return settings
