"""Instance and console history: a machine of sandbox/machine, and what it printed."""

import base64
import binascii
import contextlib
import re
from typing import Any

from sandbox.providers.stand_ins.oci import accepted, catalogue, instances, kinds, security_rules
from sandbox.providers.stand_ins.oci.cloud import Cloud, Record, State
from sandbox.providers.stand_ins.oci.resource import Resource
from sandbox.providers.stand_ins.oci.service_error import ServiceError, conflict, invalid

_METADATA_LIMIT = 32000
_CONSOLE_LIMIT = 1024 * 1024
_LEAST_BOOT_GB = 50


class Instance(Resource):
    """A virtual machine with one VNIC."""

    kind = kinds.INSTANCE
    type = "instance"
    title = "Instance"
    alive = "RUNNING"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """Shape, image, address and metadata, as far as the simulated service knows them."""
        accepted.compartment(inputs["compartmentId"])
        accepted.known_domain(state.region, inputs["availabilityDomain"])
        if "faultDomain" in inputs:
            accepted.one_of("faultDomain", inputs["faultDomain"], {f"FAULT-DOMAIN-{n}" for n in (1, 2, 3)})
        _check_shape(inputs)
        _check_source(state, inputs)
        _check_metadata(inputs.get("metadata", {}))
        _check_vnic(state, inputs.get("createVnicDetails") or {}, resource_id)

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:
        """Everything that the service chooses."""
        vnic = inputs["createVnicDetails"]
        subnet = state.get(vnic["subnetId"], "subnet").properties
        taken = instances.addresses(state, vnic["subnetId"])
        private_ip = vnic.get("privateIp") or accepted.free_address(accepted.cidr(subnet["cidrBlock"]), taken)
        shape = catalogue.SHAPES[inputs["shape"]]
        encrypted = inputs.get("isPvEncryptionInTransitEnabled", False)
        return {
            "agentConfig": {
                "areAllPluginsDisabled": False,
                "isManagementDisabled": False,
                "isMonitoringDisabled": False,
                "pluginsConfigs": [],
            },
            "availabilityConfig": {"isLiveMigrationPreferred": False, "recoveryAction": "RESTORE_INSTANCE"},
            "bootVolumeId": state.new_id("bootvolume"),
            "createVnicDetails": {
                "displayName": inputs.get("displayName", ""),
                "freeformTags": {},
                "nsgIds": [],
                "privateIp": private_ip,
                "skipSourceDestCheck": False,
            },
            "faultDomain": "FAULT-DOMAIN-1",
            "hostnameLabel": vnic.get("hostnameLabel", ""),
            "image": inputs["sourceDetails"]["sourceId"],
            "instanceOptions": {"areLegacyImdsEndpointsDisabled": False},
            "isPvEncryptionInTransitEnabled": encrypted,
            "launchMode": "PARAVIRTUALIZED",
            "launchOptions": {
                "bootVolumeType": "PARAVIRTUALIZED",
                "firmware": "UEFI_64",
                "isConsistentVolumeNamingEnabled": True,
                "isPvEncryptionInTransitEnabled": encrypted,
                "networkType": "PARAVIRTUALIZED",
                "remoteDataVolumeType": "PARAVIRTUALIZED",
            },
            "metadata": {},
            "privateIp": private_ip,
            "region": state.region,
            "shapeConfig": {
                "memoryInGbs": inputs["shapeConfig"]["ocpus"] * shape.default_gib_per_ocpu,
                "vcpus": inputs["shapeConfig"]["ocpus"],
            },
            "sourceDetails": {"bootVolumeSizeInGbs": str(_LEAST_BOOT_GB), "bootVolumeVpusPerGb": "10"},
            "subnetId": vnic["subnetId"],
        }

    def hidden(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:
        """Its VNIC, and whether the machine was started."""
        public = inputs["createVnicDetails"]["assignPublicIp"] == "true"
        return {
            "vnicId": state.new_id("vnic"),
            "privateIpId": state.new_id("privateip"),
            "ephemeralIp": instances.unused_public_address(state) if public else "",
            "launched": False,
        }

    def create(self, cloud: Cloud, inputs: dict[str, Any]) -> str:
        """One that somebody else removed keeps no address."""
        instances.forget_lost(cloud)
        return super().create(cloud, inputs)

    def made(self, cloud: Cloud, resource_id: str) -> None:
        """Start the machine."""
        with cloud.state() as state:
            record = state.get(resource_id, self.type)
        try:
            _launch(cloud, resource_id, record)
        except ServiceError:
            with contextlib.suppress(ServiceError), cloud.machines() as machines:
                machines.terminate(resource_id)
            raise
        with cloud.state() as state:
            state.get(resource_id, self.type).hidden["launched"] = True

    def read(self, cloud: Cloud, resource_id: str) -> dict[str, Any] | None:
        """A machine that is gone is a terminated instance, which the provider takes for deleted."""
        instances.forget_lost(cloud)
        with cloud.state() as state:
            record = state.find(resource_id, self.type)
            if record is None:
                return None
            properties = record.properties | {"publicIp": instances.public_address(state, record)}
            launched = record.hidden["launched"]
        with cloud.machines() as machines:
            return properties | {"state": machines.state(resource_id) if launched else "PROVISIONING"}

    def update(self, cloud: Cloud, resource_id: str, inputs: dict[str, Any]) -> None:
        """In place; another image means another boot volume."""
        instances.forget_lost(cloud)
        with cloud.state() as state:
            before = state.get(resource_id, self.type).properties
        _check_growth(before["sourceDetails"], inputs["sourceDetails"])
        super().update(cloud, resource_id, inputs)
        with cloud.state() as state:
            record = state.get(resource_id, self.type)
            record.properties["image"] = record.properties["sourceDetails"]["sourceId"]
            record.properties["hostnameLabel"] = record.properties["createVnicDetails"].get(
                "hostnameLabel", ""
            )
        if any(record.properties[size] != before[size] for size in ("shape", "shapeConfig")):
            with cloud.machines() as machines:
                machines.restart(resource_id)
        if record.properties["image"] != before["image"]:
            _replace_boot_volume(cloud, resource_id, record)
        if inputs["createVnicDetails"]["assignPublicIp"] != before["createVnicDetails"]["assignPublicIp"]:
            _switch_ephemeral_address(cloud, resource_id)

    def delete(self, cloud: Cloud, resource_id: str) -> None:
        """Terminate: volumes are detached, a reserved address is unassigned."""
        instances.forget_lost(cloud)
        with cloud.state() as state:
            state.get(resource_id, self.type)
        with cloud.machines() as machines:
            machines.terminate(resource_id)
        with cloud.state() as state:
            instances.forget(state, resource_id)


class ConsoleHistory(Resource):
    """What the serial console showed when it was captured."""

    kind = kinds.CONSOLE_HISTORY
    type = "consolehistory"
    title = "Console History"
    alive = "SUCCEEDED"

    def check(self, state: State, inputs: dict[str, Any], resource_id: str | None) -> None:
        """A captured one outlives its instance."""
        if resource_id is None:
            state.get(inputs["instanceId"], "instance")

    def computed(self, state: State, inputs: dict[str, Any]) -> dict[str, Any]:
        """Place and owner are the instance's."""
        instance = state.get(inputs["instanceId"], "instance").properties
        return {name: instance[name] for name in ("availabilityDomain", "compartmentId")}

    def create(self, cloud: Cloud, inputs: dict[str, Any]) -> str:
        """The instance must still be there."""
        instances.forget_lost(cloud)
        return super().create(cloud, inputs)

    def made(self, cloud: Cloud, resource_id: str) -> None:
        """Capture the most recent megabyte."""
        with cloud.state() as state:
            instance_id = state.get(resource_id, self.type).properties["instanceId"]
        with cloud.machines() as machines:
            text = machines.console(instance_id)
        with cloud.state() as state:
            state.get(resource_id, self.type).hidden["data"] = text[-_CONSOLE_LIMIT:]


def _check_shape(inputs: dict[str, Any]) -> None:
    shape = catalogue.SHAPES.get(inputs.get("shape", ""))
    if shape is None:
        raise invalid(
            f"Shape {inputs.get('shape')} is invalid: the simulated region has {', '.join(catalogue.SHAPES)}."
        )
    given = inputs.get("shapeConfig") or {}
    if "ocpus" not in given:
        raise invalid(f"shapeConfig.ocpus must be given for the flexible shape {inputs['shape']}.")
    ocpus = given["ocpus"]
    if not 1 <= ocpus <= shape.most_ocpus:
        raise invalid(f"ocpus {ocpus} is invalid for {inputs['shape']}: 1 to {shape.most_ocpus}.")
    gib = given.get("memoryInGbs", ocpus * shape.default_gib_per_ocpu)
    most = min(shape.most_gib, ocpus * shape.most_gib_per_ocpu)
    if not max(1, ocpus) <= gib <= most:
        raise invalid(
            f"memoryInGbs {gib} is invalid for {ocpus} OCPUs of {inputs['shape']}: {max(1, ocpus)} to {most}."
        )


def _check_source(state: State, inputs: dict[str, Any]) -> None:
    source = inputs.get("sourceDetails") or {}
    accepted.one_of("sourceDetails.sourceType", source.get("sourceType"), {"image"})
    image = catalogue.image_with(state.region, source.get("sourceId", ""))
    if image is None:
        raise invalid(f"Invalid imageId {source.get('sourceId')}")
    if catalogue.architecture(image) != catalogue.SHAPES[inputs["shape"]].architecture:
        raise invalid(f"Shape {inputs['shape']} is not valid for image {image['id']}.")
    if "bootVolumeSizeInGbs" in source:
        accepted.whole_number("bootVolumeSizeInGbs", source["bootVolumeSizeInGbs"], _LEAST_BOOT_GB, 32768)
    if "bootVolumeVpusPerGb" in source:
        accepted.whole_number("bootVolumeVpusPerGb", source["bootVolumeVpusPerGb"], 10, 120)


def _check_growth(old: dict[str, Any], new: dict[str, Any]) -> None:
    if int(new.get("bootVolumeSizeInGbs", old["bootVolumeSizeInGbs"])) < int(old["bootVolumeSizeInGbs"]):
        raise invalid(f"bootVolumeSizeInGbs cannot be less than {old['bootVolumeSizeInGbs']}, its size now.")


def _check_metadata(metadata: dict[str, str]) -> None:
    if sum(len(f"{name}{text}".encode()) for name, text in metadata.items()) > _METADATA_LIMIT:
        raise invalid(f"The size of metadata must not exceed {_METADATA_LIMIT} bytes.")
    try:
        base64.b64decode(metadata.get("user_data", ""), validate=True)
    except binascii.Error as error:
        raise invalid("metadata.user_data must be base64 encoded.") from error
    for line in filter(None, metadata.get("ssh_authorized_keys", "").splitlines()):
        if not re.match(r"(ssh|ecdsa|sk)-\S+ +[A-Za-z0-9+/]+={0,2}( |$)", line):
            raise invalid("Invalid ssh public key; must be in base64 format")


def _check_vnic(state: State, vnic: dict[str, Any], resource_id: str | None) -> None:
    if "subnetId" not in vnic:
        raise invalid("createVnicDetails.subnetId must be given.")
    subnet = state.get(vnic["subnetId"], "subnet").properties
    accepted.one_of("assignPublicIp", vnic["assignPublicIp"], {"true", "false"})
    if vnic["assignPublicIp"] == "true" and subnet["prohibitPublicIpOnVnic"]:
        raise invalid(f"The subnet {vnic['subnetId']} does not allow public IPs on VNICs.")
    if len(vnic.get("nsgIds", [])) > 5:
        raise invalid("A VNIC can be in 5 network security groups at most.")
    for group_id in vnic.get("nsgIds", []):
        security_rules.group_of(state, group_id, subnet["vcnId"])
    others = {
        other_id: other.properties
        for other_id, other in state.all("instance", subnetId=vnic["subnetId"]).items()
        if other_id != resource_id
    }
    _check_address(vnic.get("privateIp"), subnet["cidrBlock"], others)
    _check_hostname(vnic.get("hostnameLabel"), subnet, others)


def _check_address(text: str | None, block: str, others: dict[str, dict[str, Any]]) -> None:
    if text is None:
        return
    network = accepted.cidr(block)
    address = accepted.address(text)
    if address not in network:
        raise invalid(f"Private IP {address} is not in the subnet's CIDR {network}.")
    if address in (network[0], network[1], network[-1]):
        raise invalid(f"Private IP {address} is reserved by the network {network}.")
    if any(other["privateIp"] == text for other in others.values()):
        raise conflict(f"Private IP {address} is already in use")


def _check_hostname(label: str | None, subnet: dict[str, Any], others: dict[str, dict[str, Any]]) -> None:
    if not label:
        return
    if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label):
        raise invalid(f"hostnameLabel {label} is invalid: it must comply with RFC 952 and RFC 1123.")
    if "dnsLabel" not in subnet:
        raise invalid(f"hostnameLabel {label} is not allowed: the subnet has no DNS label.")
    if any(other["hostnameLabel"].lower() == label.lower() for other in others.values()):
        raise conflict(f"The hostnameLabel {label} is already used in the subnet.")


def _launch(cloud: Cloud, instance_id: str, record: Record) -> None:
    properties = record.properties
    named = re.sub(r"[^a-z0-9]+", "-", properties["displayName"].lower()).strip("-")
    with cloud.machines() as machines:
        machines.launch(
            instance_id,
            hostname=properties["hostnameLabel"] or named or "instance",
            network_id=properties["subnetId"],
            private_ip=properties["privateIp"],
            metadata=properties["metadata"],
        )
        if record.hidden["ephemeralIp"]:
            machines.connect_public(instance_id, record.hidden["ephemeralIp"])


def _replace_boot_volume(cloud: Cloud, instance_id: str, record: Record) -> None:
    """Start from the new image; addresses and block volumes stay."""
    with cloud.state() as state:
        attached = {
            cloud.volume_file(attachment.properties["volumeId"]): attachment.properties["device"]
            for attachment in state.all("volumeattachment", instanceId=instance_id).values()
        }
        reserved = state.all("publicip", assignedEntityId=record.hidden["privateIpId"]).values()
        addresses = [address.properties["ipAddress"] for address in reserved]
        state.get(instance_id, "instance").properties["bootVolumeId"] = state.new_id("bootvolume")
        state.get(instance_id, "instance").hidden["launched"] = False
    with cloud.machines() as machines:
        for file in attached:
            machines.detach(instance_id, file)
        machines.terminate(instance_id)
    _launch(cloud, instance_id, record)
    with cloud.machines() as machines:
        for address in addresses:
            machines.connect_public(instance_id, address)
        for file, device in attached.items():
            machines.attach(instance_id, file, device)
    with cloud.state() as state:
        state.get(instance_id, "instance").hidden["launched"] = True


def _switch_ephemeral_address(cloud: Cloud, instance_id: str) -> None:
    with cloud.state() as state:
        record = state.get(instance_id, "instance")
        before = record.hidden["ephemeralIp"]
        wanted = record.properties["createVnicDetails"]["assignPublicIp"] == "true"
        if wanted and instances.public_address(state, record):
            raise conflict(f"The private IP {record.hidden['privateIpId']} already has a public IP.")
        record.hidden["ephemeralIp"] = instances.unused_public_address(state) if wanted else ""
        after = record.hidden["ephemeralIp"]
    with cloud.machines() as machines:
        if before:
            machines.disconnect_public(instance_id, before)
        if after:
            machines.connect_public(instance_id, after)
