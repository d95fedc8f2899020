"""Block volumes: files that become devices of the machines; and their backup policies."""

import re
from typing import Any

from sandbox.providers.stand_ins.errors import ProviderError, not_part
from sandbox.providers.stand_ins.oci import accepted, instances, kinds
from sandbox.providers.stand_ins.oci.cloud import Cloud, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import conflict, invalid


class Volume(Resource):
    """A block volume."""

    kind = kinds.VOLUME
    type = "volume"
    title = "Volume"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """Place, size and performance."""
        accepted.compartment(inputs["compartmentId"])
        accepted.known_domain(state.region, inputs["availabilityDomain"])
        if "sizeInGbs" in inputs:
            accepted.whole_number("sizeInGbs", inputs["sizeInGbs"], 50, 32768)
        if "vpusPerGb" in inputs and accepted.whole_number("vpusPerGb", inputs["vpusPerGb"], 0, 120) % 10:
            raise invalid(f"vpusPerGb {inputs['vpusPerGb']} is invalid: it must be a multiple of 10.")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """One terabyte unless told otherwise."""
        gib = inputs.get("sizeInGbs", "1024")
        performance = inputs.get("vpusPerGb", "10")
        return {
            "autoTunedVpusPerGb": performance,
            "autotunePolicies": [],
            "isHydrated": True,
            "sizeInGbs": gib,
            "sizeInMbs": str(int(gib) * 1024),
            "vpusPerGb": performance,
        }

    def made(self, cloud: Cloud, resource_id: str) -> None:
        """Make the file."""
        with cloud.state() as state:
            gib = int(state.get(resource_id, self.type).properties["sizeInGbs"])
        with cloud.machines() as machines:
            machines.create_volume(cloud.volume_file(resource_id), gib)

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """It can grow, attached or not."""
        with cloud.state() as state:
            before = int(state.get(resource_id, self.type).properties["sizeInGbs"])
            self.check(state, inputs, resource_id)
        gib = int(inputs.get("sizeInGbs", before))
        if gib < before:
            raise invalid(f"sizeInGbs cannot be less than {before}, its size now.")
        if gib > before:
            with cloud.machines() as machines:
                machines.create_volume(cloud.volume_file(resource_id), gib)
        super().update(cloud, resource_id, inputs | {"sizeInMbs": str(gib * 1024)})

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """Not while it is attached."""
        instances.forget_lost(cloud)
        with cloud.state() as state:
            if state.all("volumeattachment", volumeId=resource_id):
                raise conflict(f"Volume {resource_id} may not be deleted while attached to an Instance.")
        super().delete(cloud, resource_id)

    def unmade(self, cloud: Cloud, resource_id: str) -> None:
        """The assignment of a backup policy ends with the volume."""
        with cloud.machines() as machines:
            machines.delete_volume(cloud.volume_file(resource_id))
        with cloud.state() as state:
            for assignment in state.all("volumebackuppolicyassignment", assetId=resource_id):
                del state.records[assignment]


class VolumeAttachment(Resource):
    """A volume as a device of an instance."""

    kind = kinds.VOLUME_ATTACHMENT
    type = "volumeattachment"
    title = "Volume Attachment"
    alive = "ATTACHED"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """Same availability domain, attached once, at a free device path."""
        kind = inputs["attachmentType"]
        accepted.one_of("attachmentType", kind, {"iscsi", "nvme", "paravirtualized", "service_determined"})
        if kind != "paravirtualized" or inputs.get("isShareable"):
            raise ProviderError(not_part("Any attachment but a paravirtualized one to one instance is"))
        instance = state.get(inputs["instanceId"], "instance").properties
        volume = state.get(inputs["volumeId"], "volume").properties
        if instance["availabilityDomain"].casefold() != volume["availabilityDomain"].casefold():
            raise invalid(
                f"Volume {inputs['volumeId']} and instance {inputs['instanceId']} are in different "
                "availability domains."
            )
        if state.all(self.type, volumeId=inputs["volumeId"]):
            raise conflict(f"Volume {inputs['volumeId']} currently attached")
        device = inputs.get("device")
        if device is None:
            raise ProviderError(not_part("An attachment without a device path is"))
        if not re.fullmatch(r"/dev/oracleoci/oraclevd([b-z]|a[a-g])", device):
            raise invalid(f"Device {device} is not a device path of the instance.")
        if state.all(self.type, instanceId=inputs["instanceId"], device=device):
            raise conflict(f"Device {device} of instance {inputs['instanceId']} is already in use.")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:
        """Place and owner are the instance's."""
        instance = state.get(inputs["instanceId"], "instance").properties
        return {
            "availabilityDomain": instance["availabilityDomain"],
            "compartmentId": instance["compartmentId"],
            "isMultipath": False,
            "isPvEncryptionInTransitEnabled": False,
            "isReadOnly": False,
            "isShareable": False,
            "iscsiLoginState": "",
        }

    def create(self, cloud: Cloud, inputs: dict[str, Any]) -> str:
        """The instance must still be there."""
        instances.forget_lost(cloud)
        return super().create(cloud, inputs)

    def made(self, cloud: Cloud, resource_id: str) -> None:
        """The device appears."""
        with cloud.state() as state:
            properties = state.get(resource_id, self.type).properties
        with cloud.machines() as machines:
            machines.attach(
                properties["instanceId"], cloud.volume_file(properties["volumeId"]), properties["device"]
            )

    def read(self, cloud: Cloud, resource_id: str) -> dict[str, Any] | None:
        """It ends with its instance."""
        instances.forget_lost(cloud)
        return super().read(cloud, resource_id)

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """It ended with its instance."""
        instances.forget_lost(cloud)
        super().delete(cloud, resource_id)

    def unmade(self, cloud: Cloud, resource_id: str) -> None:
        """The device disappears."""
        with cloud.state() as state:
            properties = state.get(resource_id, self.type).properties
        with cloud.machines() as machines:
            machines.detach(properties["instanceId"], cloud.volume_file(properties["volumeId"]))


class VolumeBackupPolicy(Resource):
    """When backups are made. The simulated cloud makes none."""

    kind = kinds.VOLUME_BACKUP_POLICY
    type = "volumebackuppolicy"
    title = "Volume Backup Policy"
    alive = None

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """Names of types, periods and days."""
        accepted.compartment(inputs["compartmentId"])
        for schedule in inputs.get("schedules", []):
            accepted.one_of("backupType", schedule["backupType"], {"FULL", "INCREMENTAL"})
            accepted.one_of(
                "period", schedule["period"], {"ONE_HOUR", "ONE_DAY", "ONE_WEEK", "ONE_MONTH", "ONE_YEAR"}
            )
            accepted.one_of("timeZone", schedule.get("timeZone", "UTC"), {"UTC", "REGIONAL_DATA_CENTER_TIME"})
            accepted.one_of(
                "offsetType", schedule.get("offsetType", "STRUCTURED"), {"STRUCTURED", "NUMERIC_SECONDS"}
            )
            if schedule["retentionSeconds"] <= 0 or not -1 <= schedule["hourOfDay"] <= 23:
                raise invalid("retentionSeconds must be more than 0, and hourOfDay 0 to 23.")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """No schedule unless given."""
        return {"schedules": []}


class VolumeBackupPolicyAssignment(Resource):
    """A policy for a volume; one a volume."""

    kind = kinds.VOLUME_BACKUP_POLICY_ASSIGNMENT
    type = "volumebackuppolicyassignment"
    title = "Volume Backup Policy Assignment"
    alive = None

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:  # noqa: ARG002
        """Both must exist."""
        state.get(inputs["assetId"], "volume")
        state.get(inputs["policyId"], "volumebackuppolicy")
        for other in state.all(self.type, assetId=inputs["assetId"]):
            raise conflict(f"Volume {inputs['assetId']} already has the backup policy assignment {other}.")
