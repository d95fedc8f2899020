"""The provider: what the engine asks, for all resource types and functions of the stand-in."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

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
from sandbox.providers.stand_ins.errors import ProviderError, not_part
from sandbox.providers.stand_ins.oci import (
    compute,
    events,
    identity,
    network,
    notifications,
    object_storage,
    public_ips,
    storage,
)
from sandbox.providers.stand_ins.oci.cloud import Cloud, Machines
from sandbox.providers.stand_ins.oci.functions import FUNCTIONS
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import ServiceError
from sandbox.providers.stand_ins.values import UNKNOWN, own_type, plain_map, property_map

_T = TypeVar("_T")

FOLDER_VARIABLE = "CDP_SIMULATED_OCI"
_CONFIGURATION = {"region", "configFileProfile"}

RESOURCES: dict[str, Resource] = {
    "oci:Core/consoleHistory:ConsoleHistory": compute.ConsoleHistory(),
    "oci:Core/instance:Instance": compute.Instance(),
    "oci:Core/internetGateway:InternetGateway": network.InternetGateway(),
    "oci:Core/networkSecurityGroup:NetworkSecurityGroup": network.NetworkSecurityGroup(),
    "oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule": network.SecurityRule(),
    "oci:Core/publicIp:PublicIp": public_ips.PublicIp(),
    "oci:Core/routeTable:RouteTable": network.RouteTable(),
    "oci:Core/securityList:SecurityList": network.SecurityList(),
    "oci:Core/subnet:Subnet": network.Subnet(),
    "oci:Core/vcn:Vcn": network.Vcn(),
    "oci:Core/volume:Volume": storage.Volume(),
    "oci:Core/volumeAttachment:VolumeAttachment": storage.VolumeAttachment(),
    "oci:Core/volumeBackupPolicy:VolumeBackupPolicy": storage.VolumeBackupPolicy(),
    "oci:Core/volumeBackupPolicyAssignment:VolumeBackupPolicyAssignment": (
        storage.VolumeBackupPolicyAssignment()
    ),
    "oci:Events/rule:Rule": events.Rule(),
    "oci:Identity/dynamicGroup:DynamicGroup": identity.DynamicGroup(),
    "oci:Identity/policy:Policy": identity.Policy(),
    "oci:ObjectStorage/bucket:Bucket": object_storage.Bucket(),
    "oci:ObjectStorage/objectLifecyclePolicy:ObjectLifecyclePolicy": object_storage.ObjectLifecyclePolicy(),
    "oci:Ons/notificationTopic:NotificationTopic": notifications.NotificationTopic(),
    "oci:Ons/subscription:Subscription": notifications.Subscription(),
}


def real_machines(folder: Path) -> Machines:
    """The machines of sandbox/machine, in the Docker engine of DOCKER_HOST."""
    from sandbox.machine.machine import Machines as Simulated

    return Simulated(folder, os.environ.get("DOCKER_HOST"))


class OciProvider(Provider):
    """Stands in for the published plugin `oci`."""

    def __init__(self, make_machines: Callable[[Path], Machines] = real_machines) -> None:
        self._make_machines = make_machines
        self._settings: dict[str, Any] = {}
        self._known: Cloud | None = None

    async def check_config(self, request: CheckRequest) -> CheckResponse:
        """Refuse settings that the schema does not have, or that this stand-in cannot honour."""
        import pulumi_oci

        given = _configuration(request.new_inputs)
        problems = list(schema.problems(pulumi_oci.ProviderArgs, given, "oci:config"))
        problems += [
            not_part(f"oci:config:{name}:")
            for name in sorted(
                given.keys() & schema.fields_of(pulumi_oci.ProviderArgs).keys() - _CONFIGURATION
            )
        ]
        region = given.get("region")
        if region is None:
            problems.append("Missing region configuration. Examine values at 'oci:config.region'.")
        elif region != UNKNOWN and not re.fullmatch(r"[a-z]{2,}-[a-z]+-\d", str(region)):
            problems.append(f"Invalid region {region!r}. Examine values at 'oci:config.region'.")
        if given.get("configFileProfile") == "":
            problems.append("Empty profile name. Examine values at 'oci:config.configFileProfile'.")
        return CheckResponse(request.new_inputs, [CheckFailure("", problem) for problem in problems])

    async def configure(self, request: ConfigureRequest) -> ConfigureResponse:
        """Remember the settings; nothing is asked of the cloud yet."""
        self._settings = _configuration(request.args)
        # Secrets stay with the engine, which marks the outputs of secret inputs by itself.
        return ConfigureResponse(supports_preview=True)

    async def invoke(self, request: InvokeRequest) -> InvokeResponse:
        """Ask the cloud, in a preview too."""
        function = FUNCTIONS.get(request.tok)
        if function is None:
            raise ProviderError(not_part(f"{request.tok}:"))
        given = plain_map(request.args)
        problems = [
            f"Invalid or unknown key. Examine values at '{request.tok}.{name}'."
            for name in sorted(given.keys() - function.types.keys() - function.refused)
        ]
        problems += [
            not_part(f"The argument {name!r} is") for name in sorted(function.refused & given.keys())
        ]
        problems += [
            f"Missing required argument \"{name}\". Examine values at '{request.tok}.{name}'."
            for name in sorted(function.required.keys() - given.keys())
        ]
        problems += [
            f"Unexpected type. Examine values at '{request.tok}.{name}'."
            for name in sorted(function.types.keys() & given.keys())
            if type(given[name]) is not function.types[name]
        ]
        if problems:
            return InvokeResponse(failures=[CheckFailure("", problem) for problem in problems])
        result = await asyncio.to_thread(lambda: function.answer(self._cloud(), given))
        return InvokeResponse(property_map(result))

    async def check(self, request: CheckRequest) -> CheckResponse:
        """Validate inputs and fill in defaults; the service's own rules apply when it is asked."""
        kind = _resource(request.type).kind
        given = plain_map(request.new_inputs)
        problems = list(schema.problems(kind.argument_class, given, request.name))
        problems += [not_part(f"The input {name!r} is") for name in kind.beyond(given)]
        return bridge.checked(kind, request, problems)

    async def diff(self, request: DiffRequest) -> DiffResponse:
        """Compare inputs with the state."""
        return bridge.difference(_resource(request.type).kind, request)

    async def create(self, request: CreateRequest) -> CreateResponse:
        """Create and read back."""
        resource = _resource(request.type)
        given = plain_map(request.properties)
        if request.preview:
            return CreateResponse(properties=bridge.foreseen(resource.kind, given))

        def create() -> CreateResponse:
            cloud = self._cloud()
            _planned_failure(cloud, resource)
            resource_id = resource.create(cloud, given)
            found = resource.read(cloud, resource_id)
            if found is None:
                raise ProviderError(f"expected non-empty ID for new state during Create of {request.urn}")
            return CreateResponse(resource_id, property_map(bridge.merged(resource.kind, given, found)))

        return await _in_thread(create, "creating", request.urn)

    async def read(self, request: ReadRequest) -> ReadResponse:
        """The state as it is now."""
        resource = _resource(request.type)
        found = await _in_thread(
            lambda: resource.read(self._cloud(), request.resource_id), "refreshing", request.urn
        )
        return bridge.refreshed(resource.kind, request, found)

    async def update(self, request: UpdateRequest) -> UpdateResponse:
        """Change in place what can be changed, and read back."""
        resource = _resource(request.type)
        old, new = plain_map(request.olds), plain_map(request.news)
        state = bridge.updated(resource.kind, old, new)
        if request.preview:
            return UpdateResponse(property_map(state))
        # An input that the program no longer has keeps the value that it has in the service.
        kept = {
            name: old[name] for name in resource.kind.chosen & resource.kind.names & old.keys() - new.keys()
        }

        def update() -> UpdateResponse:
            cloud = self._cloud()
            _planned_failure(cloud, resource)
            resource.update(cloud, request.resource_id, kept | new)
            found = resource.read(cloud, request.resource_id) or {}
            return UpdateResponse(property_map(bridge.merged(resource.kind, state, found)))

        return await _in_thread(update, "updating", request.urn)

    async def delete(self, request: DeleteRequest) -> None:
        """Remove the resource; one that is gone already counts as removed."""
        resource = _resource(request.type)

        def delete() -> None:
            cloud = self._cloud()
            _planned_failure(cloud, resource)
            try:
                resource.delete(cloud, request.resource_id)
            except ServiceError as error:
                if error.status != 404:
                    raise

        await _in_thread(delete, "deleting", request.urn)

    def _cloud(self) -> Cloud:
        if self._known is None:
            folder = os.environ.get(FOLDER_VARIABLE)
            if not folder:
                raise ProviderError(
                    f"The stand-in for oci has no cloud to work on; set {FOLDER_VARIABLE} to the folder of a "
                    "simulated one, or use the published plugin."
                )
            path = Path(folder)
            self._known = Cloud(path, self._settings["region"], self._make_machines(path))
        return self._known


def _resource(type_token: str) -> Resource:
    try:
        return RESOURCES[own_type(type_token)]
    except KeyError:
        raise ProviderError(not_part(f"{type_token}:")) from None


def _configuration(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """Provider settings; the SDK sends everything but texts as JSON."""
    settings = {name: value for name, value in plain_map(values).items() if name != "version"}
    for name in settings.keys() - _CONFIGURATION:
        try:
            settings[name] = json.loads(settings[name])
        except (ValueError, TypeError):
            continue
    return settings


def _planned_failure(cloud: Cloud, resource: Resource) -> None:
    """What a test wants to fail, fails."""
    for kind, text in cloud.settings().failures:
        if kind == resource.type:
            raise ServiceError(500, "InternalError", text)


async def _in_thread(action: Callable[[], _T], doing: str, urn: str) -> _T:
    try:
        return await asyncio.to_thread(action)
    except ProviderError as error:
        raise ProviderError(bridge.multiple(f"{doing} {urn}: {bridge.multiple(error)}")) from error
