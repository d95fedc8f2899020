"""The functions of the package: questions to the cloud, in a preview too."""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.providers.stand_ins.oci import accepted, catalogue, instances, object_storage
from sandbox.providers.stand_ins.oci.cloud import Cloud
from sandbox.providers.stand_ins.oci.service_error import invalid

_LEAST_CONSOLE_BYTES = 10240


def _availability_domains(cloud: Cloud, given: dict[str, Any]) -> dict[str, Any]:
    accepted.compartment(given["compartmentId"])
    return {
        "availabilityDomains": [
            {
                "compartmentId": given["compartmentId"],
                "id": f"ocid1.availabilitydomain.oc1..{name.split(':')[1].lower().replace('-', '')}",
                "name": name,
            }
            for name in accepted.availability_domains(cloud.region)
        ]
    }


def _images(cloud: Cloud, given: dict[str, Any]) -> dict[str, Any]:
    accepted.compartment(given["compartmentId"])
    found = catalogue.images(cloud.region, cloud.settings().newer_image)
    for name in ("displayName", "operatingSystem", "operatingSystemVersion", "state"):
        found = [image for image in found if given.get(name) in (None, image[name])]
    if "shape" in given:
        shape = catalogue.SHAPES.get(given["shape"])
        found = [image for image in found if shape and catalogue.architecture(image) == shape.architecture]
    sort_by = given.get("sortBy", "TIMECREATED")
    accepted.one_of("sortBy", sort_by, {"TIMECREATED", "DISPLAYNAME"})
    # The API lists by time from new to old, by name from a to z, unless told otherwise.
    order = given.get("sortOrder", "DESC" if sort_by == "TIMECREATED" else "ASC")
    accepted.one_of("sortOrder", order, {"ASC", "DESC"})
    key = "timeCreated" if sort_by == "TIMECREATED" else "displayName"
    found.sort(key=lambda image: image[key], reverse=order == "DESC")
    return {"images": [image | {"compartmentId": given["compartmentId"]} for image in found]}


def _private_ips(cloud: Cloud, given: dict[str, Any]) -> dict[str, Any]:
    if not given.keys() & {"subnetId", "vnicId"}:
        raise invalid("One of subnetId and vnicId must be given to list private IPs.")
    instances.forget_lost(cloud)
    with cloud.state() as state:
        if "subnetId" in given:
            state.get(given["subnetId"], "subnet")
        found = [
            {
                "availabilityDomain": record.properties["availabilityDomain"],
                "compartmentId": record.properties["compartmentId"],
                "displayName": record.properties["createVnicDetails"]["displayName"],
                "freeformTags": {},
                "hostnameLabel": record.properties["hostnameLabel"],
                "id": record.hidden["privateIpId"],
                "ipAddress": record.properties["privateIp"],
                "isPrimary": True,
                "isReserved": False,
                "subnetId": record.properties["subnetId"],
                "timeCreated": record.properties["timeCreated"],
                "vnicId": record.hidden["vnicId"],
            }
            for record in state.all("instance").values()
        ]
    for name in ("subnetId", "vnicId", "ipAddress"):
        found = [private_ip for private_ip in found if given.get(name) in (None, private_ip[name])]
    return {"privateIps": found}


def _console_history_data(cloud: Cloud, given: dict[str, Any]) -> dict[str, Any]:
    length, offset = given.get("length", _LEAST_CONSOLE_BYTES), given.get("offset", 0)
    if length < _LEAST_CONSOLE_BYTES or offset < 0:
        raise invalid(f"length must be {_LEAST_CONSOLE_BYTES} or more, and offset 0 or more.")
    with cloud.state() as state:
        data: str = state.get(given["consoleHistoryId"], "consolehistory").hidden["data"]
    return {"data": data.encode()[offset : offset + length].decode(errors="ignore")}


def _namespace(cloud: Cloud, given: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return {"namespace": object_storage.NAMESPACE}


class Function:
    """One function of the package: the arguments it takes, and how it answers."""

    def __init__(
        self,
        required: Mapping[str, type],
        optional: Mapping[str, type],
        refused: frozenset[str],
        answer: Callable[[Cloud, dict[str, Any]], dict[str, Any]],
    ) -> None:
        self.required = required
        self.types = {**required, **optional}
        self.refused = refused
        self._answer = answer

    def answer(self, cloud: Cloud, given: dict[str, Any]) -> dict[str, Any]:
        """The result: the arguments, what was asked for, and an id, as data sources have one."""
        return {**given, "id": "simulated", **self._answer(cloud, given)}


_FILTERS = frozenset({"filters"})

# The SDK has no classes for the arguments of functions; they follow the functions' signatures.
FUNCTIONS = {
    "oci:Identity/getAvailabilityDomains:getAvailabilityDomains": Function(
        {"compartmentId": str}, {}, _FILTERS, _availability_domains
    ),
    "oci:Core/getImages:getImages": Function(
        {"compartmentId": str},
        dict.fromkeys(
            (
                "displayName",
                "operatingSystem",
                "operatingSystemVersion",
                "shape",
                "sortBy",
                "sortOrder",
                "state",
            ),
            str,
        ),
        _FILTERS,
        _images,
    ),
    "oci:Core/getPrivateIps:getPrivateIps": Function(
        {},
        dict.fromkeys(("ipAddress", "subnetId", "vnicId"), str),
        _FILTERS | {"ipState", "lifetime", "vlanId"},
        _private_ips,
    ),
    "oci:Core/getConsoleHistoryData:getConsoleHistoryData": Function(
        {"consoleHistoryId": str}, {"length": int, "offset": int}, frozenset(), _console_history_data
    ),
    "oci:ObjectStorage/getNamespace:getNamespace": Function(
        {}, {"compartmentId": str}, frozenset(), _namespace
    ),
}
