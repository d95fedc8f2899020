"""The provider: what the engine asks, for all resource types of the stand-in."""

import asyncio
import hashlib
import json
import os
import secrets
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
    PropertyDiff,
    PropertyDiffKind,
    Provider,
    ReadRequest,
    ReadResponse,
    UpdateRequest,
    UpdateResponse,
)

from sandbox.providers.stand_ins import inputs as schema
from sandbox.providers.stand_ins.comparing import changes, in_order_of, is_nothing, same
from sandbox.providers.stand_ins.docker import validation
from sandbox.providers.stand_ins.docker.containers import Container
from sandbox.providers.stand_ins.docker.engine import Engine
from sandbox.providers.stand_ins.docker.images import Image
from sandbox.providers.stand_ins.docker.kinds import RULES, Kind
from sandbox.providers.stand_ins.docker.networks import Network
from sandbox.providers.stand_ins.docker.volumes import Volume
from sandbox.providers.stand_ins.errors import InitializationFailedError, ProviderError, not_part
from sandbox.providers.stand_ins.values import DEFAULTS_KEY, UNKNOWN, own_type, plain_map, property_map

_CONFIGURATION = {"host", "sshOpts", "disableDockerDaemonCheck"}
_REPLACED = {
    PropertyDiffKind.ADD: PropertyDiffKind.ADD_REPLACE,
    PropertyDiffKind.DELETE: PropertyDiffKind.DELETE_REPLACE,
    PropertyDiffKind.UPDATE: PropertyDiffKind.UPDATE_REPLACE,
}


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
        problems += [not_part(f"The input {name!r} is") for name in sorted(kind.refused & given.keys())]
        if problems:
            return CheckResponse(request.new_inputs, [CheckFailure("", problem) for problem in problems])
        return CheckResponse(property_map(_with_defaults(kind, given, request)))

    async def diff(self, request: DiffRequest) -> DiffResponse:
        """Compare inputs with the state; name what forces a replacement."""
        kind = _resource(request.type).kind
        old, new = plain_map(request.old_state), plain_map(request.new_inputs)
        detailed: dict[str, PropertyDiff] = {}
        replaces: list[str] = []
        changed: list[str] = []
        for name in sorted(schema.fields_of(kind.argument_class)):
            if name not in new and name in kind.chosen:
                continue
            if name in ("user", "workingDir") and not new.get(name):
                continue  # the provider takes an empty one for the image's
            found = changes(name, old.get(name), new.get(name), RULES, name)
            if not found:
                continue
            changed.append(name)
            if name not in kind.in_place:
                replaces.append(name)
                found = {path: _REPLACED[how] for path, how in found.items()}
            detailed |= {path: PropertyDiff(how, input_diff=False) for path, how in found.items()}
        keeps_name = kind.auto_named and "name" not in _defaulted(request.new_inputs)
        return DiffResponse(
            changes=bool(changed),
            replaces=replaces,
            diffs=changed,
            detailed_diff=detailed,
            # A name that the program chose cannot belong to the old and the new one at once.
            delete_before_replace=bool(replaces)
            and (kind.delete_before_replace or (keeps_name and old.get("name") == new.get("name"))),
        )

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Create, complete, read back."""
        resource = _resource(request.type)
        given = plain_map(request.properties)
        if request.preview:
            unknown = dict.fromkeys(resource.kind.outputs | resource.kind.chosen, UNKNOWN)
            return CreateResponse(properties=property_map(unknown | given))
        return await asyncio.to_thread(self._create, resource, request.urn, given)

    async def read(self, request: ReadRequest) -> ReadResponse:
        """The state as it is now; an empty id if the resource is gone."""
        resource = _resource(request.type)
        state, old_inputs = plain_map(request.properties), plain_map(request.inputs)
        found = await asyncio.to_thread(self._read, resource, request.resource_id, state)
        if found is None:
            return ReadResponse()
        merged = _merged(state, found)
        if old_inputs:
            fresh = {
                name: value if same(merged.get(name), value, RULES, name) else merged.get(name)
                for name, value in old_inputs.items()
            }
        else:
            fresh = _imported(resource.kind, merged)
        properties = property_map(fresh)
        if DEFAULTS_KEY in request.inputs:
            properties[DEFAULTS_KEY] = request.inputs[DEFAULTS_KEY]
        return ReadResponse(request.resource_id, property_map(merged), properties)

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        """Change in place what can be changed; the state takes the new inputs as they are."""
        resource = _resource(request.type)
        old, new = plain_map(request.olds), plain_map(request.news)
        kept = {
            name: value
            for name, value in old.items()
            if name in resource.kind.outputs | resource.kind.chosen or is_nothing(value)
        }
        state = kept | new
        if not request.preview:
            try:
                await asyncio.to_thread(self._update, resource, request.resource_id, old, new)
            except ProviderError as error:
                raise ProviderError(_multiple(f"updating {request.urn}: {_multiple(error)}")) from error
        return UpdateResponse(property_map(state))

    async def delete(self, request: DeleteRequest) -> None:
        """Remove the resource."""
        resource = _resource(request.type)
        state = plain_map(request.properties)
        try:
            await asyncio.to_thread(lambda: resource.delete(self._connected(), request.resource_id, state))
        except ProviderError as error:
            raise ProviderError(_multiple(f"deleting {request.urn}: {_multiple(error)}")) from error

    def _create(self, resource: Resource, urn: str, inputs: dict[str, Any]) -> CreateResponse:
        try:
            engine = self._connected()
            resource_id = resource.create(engine, inputs)
        except ProviderError as error:
            raise ProviderError(_multiple(error)) from error
        try:
            resource.complete(engine, resource_id, inputs)
            found = resource.read(engine, resource_id, inputs)
        except ProviderError as error:
            reason = f"creating {urn}: {_multiple(error)}"  # the engine puts it into a list itself
            raise InitializationFailedError(reason, resource_id, inputs) from error
        if found is None:
            raise ProviderError(f"expected non-empty ID for new state during Create of {urn}")
        return CreateResponse(resource_id, property_map(_merged(inputs, found)))

    def _read(self, resource: Resource, resource_id: str, state: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return resource.read(self._connected(), resource_id, state)
        except ProviderError as error:
            raise ProviderError(_multiple(error)) from error

    def _update(self, resource: Resource, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        if all(same(old.get(name), value, RULES, name) for name, value in new.items()):
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


def _defaulted(inputs: Mapping[str, PropertyValue]) -> set[str]:
    names = inputs.get(DEFAULTS_KEY)
    return {item.value for item in names.value} if names and isinstance(names.value, tuple) else set()  # pyright: ignore


def _with_defaults(kind: Kind, given: dict[str, Any], request: CheckRequest) -> dict[str, Any]:
    defaults = dict(kind.defaults)
    if kind.auto_named:
        previous = request.old_inputs.get("name")
        if previous is not None and "name" in _defaulted(request.old_inputs):
            defaults["name"] = previous.value
        else:
            defaults["name"] = f"{request.name}-{_suffix(request.random_seed)}"
    filled = _filled(given, defaults)
    for name, nested in kind.nested_defaults.items():
        value = filled.get(name)
        if isinstance(value, list):
            filled[name] = [_filled(item, nested) if isinstance(item, dict) else item for item in value]
        elif isinstance(value, dict):
            filled[name] = _filled(value, nested)
    return filled


def _filled(given: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    missing = {name: value for name, value in defaults.items() if name not in given}
    return {**missing, **given, DEFAULTS_KEY: sorted(missing)}


def _suffix(seed: bytes) -> str:
    return (hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(4))[:7]


def _merged(state: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The state with everything that was read back, sets in the order they had."""
    return state | {name: in_order_of(state.get(name), value, RULES) for name, value in found.items()}


def _imported(kind: Kind, state: dict[str, Any]) -> dict[str, Any]:
    names = schema.fields_of(kind.argument_class).keys() - kind.chosen
    return {name: state[name] for name in sorted(names & state.keys()) if not is_nothing(state[name])}


def _multiple(error: object) -> str:
    """The form in which the bridge to Terraform providers lists errors."""
    return f"1 error occurred:\n\t* {error}\n\n"
