"""Buckets and their lifecycle policies. The simulated cloud stores no objects."""

import re
import secrets
from typing import Any
from urllib.parse import quote

from sandbox.providers.stand_ins.oci import accepted, kinds
from sandbox.providers.stand_ins.oci.cloud import Cloud, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import ServiceError, invalid, not_found

NAMESPACE = "frsimulated1"
"""The Object Storage namespace of the simulated tenancy."""


class Bucket(Resource):
    """A bucket; its name is unique in the namespace and the region."""

    kind = kinds.BUCKET
    type = "bucket"
    title = "Bucket"
    alive = None

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Name, namespace and settings."""
        accepted.compartment(inputs["compartmentId"])
        _namespace(inputs["namespace"])
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,256}", inputs["name"]):
            raise invalid(f"Invalid bucket name {inputs['name']!r}")
        accepted.one_of(
            "accessType", inputs["accessType"], {"NoPublicAccess", "ObjectRead", "ObjectReadWithoutList"}
        )
        accepted.one_of("storageTier", inputs.get("storageTier", "Standard"), {"Standard", "Archive"})
        accepted.one_of(
            "autoTiering", inputs.get("autoTiering", "Disabled"), {"Disabled", "InfrequentAccess"}
        )
        allowed = {"Enabled", "Disabled"} if resource_id is None else {"Enabled", "Disabled", "Suspended"}
        accepted.one_of("versioning", inputs.get("versioning", "Disabled"), allowed)
        if resource_id is None and _bucket(state, inputs["namespace"], inputs["name"]):
            raise ServiceError(
                409,
                "BucketAlreadyExists",
                f"Either the bucket '{inputs['name']}' in namespace '{inputs['namespace']}' already exists "
                "or you are not authorized to create it",
            )

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Nothing is in it."""
        return {
            "approximateCount": "0",
            "approximateSize": "0",
            "autoTiering": "Disabled",
            "bucketId": state.new_id("bucket"),
            "createdBy": "ocid1.user.oc1..simulated",
            "etag": secrets.token_hex(16),
            "isReadOnly": False,
            "objectEventsEnabled": False,
            "replicationEnabled": False,
            "storageTier": "Standard",
            "versioning": "Disabled",
        }

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """Versioning can be suspended, never disabled again."""
        with cloud.state() as state:
            before = state.get(resource_id, self.type).properties["versioning"]
        if before != "Disabled" and inputs.get("versioning") == "Disabled":
            raise invalid("versioning cannot be Disabled once it was Enabled; use Suspended.")
        super().update(cloud, resource_id, inputs)

    def new_id(self, state: State, inputs: dict[str, Any]) -> str:  # noqa: ARG002
        """The id names the place, not the resource."""
        return f"n/{quote(inputs['namespace'], '')}/b/{quote(inputs['name'], '')}"

    def unmade(self, cloud: Cloud, resource_id: str) -> None:
        """Its lifecycle policy goes with it."""
        with cloud.state() as state:
            state.records.pop(f"{resource_id}/l", None)


class ObjectLifecyclePolicy(Resource):
    """What becomes of old objects; one a bucket."""

    kind = kinds.OBJECT_LIFECYCLE_POLICY
    type = "objectlifecyclepolicy"
    title = "Object Lifecycle Policy"
    alive = None

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """The bucket must exist; each rule must have a name of its own."""
        _namespace(inputs["namespace"])
        if not _bucket(state, inputs["namespace"], inputs["bucket"]):
            raise not_found(f"bucket {inputs['bucket']}")
        rules = inputs.get("rules", [])
        if len({rule["name"] for rule in rules}) != len(rules):
            raise invalid("Each rule of a lifecycle policy must have a name of its own.")
        for rule in rules:
            accepted.one_of("action", rule["action"], {"ABORT", "ARCHIVE", "DELETE", "INFREQUENT_ACCESS"})
            accepted.one_of(
                "target", rule["target"], {"objects", "multipart-uploads", "previous-object-versions"}
            )
            accepted.one_of("timeUnit", rule["timeUnit"], {"DAYS", "YEARS"})
            accepted.whole_number("timeAmount", rule["timeAmount"], 1, 100000)
            if (rule["action"] == "ABORT") != (rule["target"] == "multipart-uploads"):
                raise invalid(
                    "The action ABORT is for the target multipart-uploads, and the only one for it."
                )

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """No rules unless given."""
        return {"rules": []}

    def new_id(self, state: State, inputs: dict[str, Any]) -> str:  # noqa: ARG002
        """The id names the place, not the resource."""
        return f"n/{quote(inputs['namespace'], '')}/b/{quote(inputs['bucket'], '')}/l"


def _namespace(name: str) -> None:
    if name != NAMESPACE:
        raise not_found(f"namespace {name}")


def _bucket(state: State, namespace: str, name: str) -> bool:
    return bool(state.all("bucket", namespace=namespace, name=name))
