"""The decisions of the oci stand-in: what is refused, what updates, what replaces, what becomes of machines."""

import asyncio
import base64
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental.provider import (
    CheckRequest,
    ConfigureRequest,
    CreateRequest,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    InvokeRequest,
    ReadRequest,
    ReadResponse,
    UpdateRequest,
)

from sandbox.machine.errors import MachineError
from sandbox.providers.stand_ins.errors import ProviderError
from sandbox.providers.stand_ins.inputs import fields_of
from sandbox.providers.stand_ins.oci.cloud import Cloud
from sandbox.providers.stand_ins.oci.provider import FOLDER_VARIABLE, RESOURCES, OciProvider
from sandbox.providers.stand_ins.values import UNKNOWN, plain_map, property_map

COMPARTMENT = "ocid1.compartment.oc1..aaaa"
TENANCY = "ocid1.tenancy.oc1..aaaa"
DOMAIN = "Uocm:EU-FRANKFURT-1-AD-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6k someone@somewhere"
TOKENS = {token.rpartition(":")[2]: token for token in RESOURCES}


class FakeMachines:
    """Keeps what it was asked; machines run until somebody removes them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running: dict[str, dict[str, Any]] = {}
        self.failing = ""

    def _note(self, what: str, *details: object) -> None:
        self.asked.append(" ".join([what, *map(str, details)]))
        if self.failing and self.asked[-1].startswith(self.failing):
            raise MachineError("as the test wants it")

    def create_network(self, id: str, cidr: str) -> None:  # noqa: ARG002
        self._note("create_network", cidr)

    def remove_network(self, id: str) -> None:  # noqa: ARG002
        self._note("remove_network")

    def launch(self, instance_id: str, **details: Any) -> None:
        self._note("launch", details["hostname"], details["private_ip"])
        self.running[instance_id] = details

    def state(self, instance_id: str) -> str | None:
        return "RUNNING" if instance_id in self.running else None

    def restart(self, instance_id: str) -> None:  # noqa: ARG002
        self._note("restart")

    def terminate(self, instance_id: str) -> None:
        self._note("terminate")
        self.running.pop(instance_id, None)

    def console(self, instance_id: str) -> str:  # noqa: ARG002
        return "x" * 20000 + "the end"

    def attach(self, instance_id: str, volume_file: Path, device: str) -> None:  # noqa: ARG002
        self._note("attach", device)

    def detach(self, instance_id: str, volume_file: Path) -> None:  # noqa: ARG002
        self._note("detach")

    def create_volume(self, file: Path, gib: int) -> None:  # noqa: ARG002
        self._note("create_volume", gib)

    def delete_volume(self, file: Path) -> None:  # noqa: ARG002
        self._note("delete_volume")

    def connect_public(self, instance_id: str, address: str) -> None:  # noqa: ARG002
        self._note("connect_public", address)

    def disconnect_public(self, instance_id: str, address: str) -> None:  # noqa: ARG002
        self._note("disconnect_public", address)


class Made:
    """A resource that the world made: its id, its checked inputs and its state."""

    def __init__(self, kind: str, resource_id: str, inputs: Any, state: Any) -> None:
        self.kind = kind
        self.id = resource_id
        self.inputs = inputs
        self.state = state

    def __getitem__(self, name: str) -> Any:
        return plain_map(self.state)[name]


class World:
    """A provider on a simulated cloud, asked as the engine asks it."""

    def __init__(self, folder: Path, region: str = "eu-frankfurt-1") -> None:
        self.folder = folder
        self.machines = FakeMachines()
        self.provider = OciProvider(lambda _: self.machines)
        asyncio.run(
            self.provider.configure(ConfigureRequest({}, property_map({"region": region}), True, True))
        )

    def check(self, kind: str, inputs: dict[str, Any]) -> Any:
        request = CheckRequest(_urn(kind), {}, property_map(inputs), b"seed")
        return asyncio.run(self.provider.check(request))

    def checked(self, kind: str, inputs: dict[str, Any]) -> Any:
        response = self.check(kind, inputs)
        assert not response.failures, [failure.reason for failure in response.failures]
        return response.inputs

    def create(self, kind: str, inputs: dict[str, Any]) -> Made:
        checked = self.checked(kind, inputs)
        made = asyncio.run(self.provider.create(CreateRequest(_urn(kind), checked, 0, preview=False)))
        return Made(kind, str(made.resource_id), checked, made.properties)

    def update(self, made: Made, change: dict[str, Any]) -> Made:
        news = self.checked(made.kind, plain_map(made.inputs) | change)
        request = UpdateRequest(_urn(made.kind), made.id, made.state, news, 0, [], preview=False)
        return Made(made.kind, made.id, news, asyncio.run(self.provider.update(request)).properties)

    def diff(self, made: Made, change: dict[str, Any]) -> DiffResponse:
        news = self.checked(made.kind, plain_map(made.inputs) | change)
        return asyncio.run(self.provider.diff(DiffRequest(_urn(made.kind), made.id, made.state, news, [])))

    def read(self, made: Made) -> ReadResponse:
        return asyncio.run(self.provider.read(ReadRequest(_urn(made.kind), made.id, made.state, made.inputs)))

    def delete(self, made: Made) -> None:
        asyncio.run(self.provider.delete(DeleteRequest(_urn(made.kind), made.id, made.state, 0)))

    def ask(self, token: str, **given: Any) -> dict[str, Any]:
        response = asyncio.run(self.provider.invoke(InvokeRequest(token, property_map(given))))
        assert not response.failures, [failure.reason for failure in response.failures]
        return plain_map(response.return_value or {})

    def images(self, **given: Any) -> list[dict[str, Any]]:
        return self.ask("oci:Core/getImages:getImages", compartmentId=COMPARTMENT, **given)["images"]

    def vcn(self, **change: Any) -> Made:
        given = {"compartmentId": COMPARTMENT, "cidrBlocks": ["10.0.0.0/16"], "dnsLabel": "main"}
        return self.create("Vcn", given | change)

    def subnet(self, vcn: Made, **change: Any) -> Made:
        given = {
            "compartmentId": COMPARTMENT,
            "vcnId": vcn.id,
            "cidrBlock": "10.0.1.0/24",
            "dnsLabel": "hosts",
        }
        return self.create("Subnet", given | change)

    def group(self, vcn: Made) -> Made:
        return self.create("NetworkSecurityGroup", {"compartmentId": COMPARTMENT, "vcnId": vcn.id})

    def instance_inputs(self, subnet: Made, **change: Any) -> dict[str, Any]:
        image = self.images(operatingSystemVersion="10", shape="VM.Standard.A1.Flex")[0]["id"]
        return {
            "availabilityDomain": DOMAIN,
            "compartmentId": COMPARTMENT,
            "displayName": "Platform host",
            "shape": "VM.Standard.A1.Flex",
            "shapeConfig": {"ocpus": 2, "memoryInGbs": 12},
            "sourceDetails": {"sourceType": "image", "sourceId": image},
            "createVnicDetails": {"subnetId": subnet.id, "assignPublicIp": "false", "privateIp": "10.0.1.10"},
            "metadata": {
                "ssh_authorized_keys": KEY,
                "user_data": base64.b64encode(b"#cloud-config\n").decode(),
            },
        } | change

    def instance(self, subnet: Made, **change: Any) -> Made:
        return self.create("Instance", self.instance_inputs(subnet, **change))

    def volume(self, **change: Any) -> Made:
        given = {"availabilityDomain": DOMAIN, "compartmentId": COMPARTMENT, "sizeInGbs": "50"}
        return self.create("Volume", given | change)

    def attachment_inputs(self, instance: Made, volume: Made, **change: Any) -> dict[str, Any]:
        return {
            "attachmentType": "paravirtualized",
            "instanceId": instance.id,
            "volumeId": volume.id,
            "device": "/dev/oracleoci/oraclevdb",
        } | change

    def private_ip(self, subnet: Made, address: str = "10.0.1.10") -> str:
        found = self.ask("oci:Core/getPrivateIps:getPrivateIps", subnetId=subnet.id, ipAddress=address)
        return found["privateIps"][0]["id"]


def _urn(kind: str) -> str:
    return f"urn:pulumi:dev::probe::{TOKENS[kind]}::it"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return World(tmp_path)


@pytest.mark.parametrize("token", RESOURCES)
def test_every_name_that_is_written_down_is_in_the_sdk(token: str) -> None:
    kind = RESOURCES[token].kind
    module = sys.modules[kind.argument_class.__module__]
    known = fields_of(kind.argument_class).keys()
    state = fields_of(getattr(module, f"_{kind.arguments.removesuffix('Args')}State")).keys()
    assert kind.accepted is not None
    forced = {path.partition(".")[0] for path in kind.forced}
    assert kind.names | forced | kind.chosen | kind.defaults.keys() | kind.nested_defaults.keys() <= known
    assert not kind.outputs & known
    assert kind.outputs <= state
    assert f"'{token}'" in Path(str(module.__file__)).read_text(encoding="utf-8")


def test_what_is_not_part_is_refused_by_name(world: World) -> None:
    with pytest.raises(ProviderError, match="oci:Core/drg:Drg: not part of this stand-in"):
        asyncio.run(
            world.provider.create(CreateRequest("urn:pulumi:dev::probe::oci:Core/drg:Drg::it", {}, 0, False))
        )
    with pytest.raises(ProviderError, match="oci:Core/getShapes:getShapes: not part"):
        world.ask("oci:Core/getShapes:getShapes")
    given = {"compartmentId": COMPARTMENT, "cidrBlocks": ["10.0.0.0/16"], "isIpv6enabled": True}
    assert "'isIpv6enabled'" in world.check("Vcn", given).failures[0].reason
    vnic = {"createVnicDetails": {"subnetId": "x", "vlanId": "y"}}
    given = {"availabilityDomain": DOMAIN, "compartmentId": COMPARTMENT} | vnic
    assert "'createVnicDetails.vlanId'" in world.check("Instance", given).failures[0].reason


def test_unknown_and_missing_inputs_are_refused(world: World) -> None:
    reasons = [failure.reason for failure in world.check("Vcn", {"cidrBlocs": []}).failures]
    assert any("it.cidrBlocs" in reason for reason in reasons)
    assert any('"compartmentId" is required' in reason for reason in reasons)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"region": "eu-frankfurt-1", "configFileProfile": "DEFAULT"}, ""),
        ({"region": UNKNOWN}, ""),
        ({}, "oci:config.region"),
        ({"region": "frankfurt"}, "oci:config.region"),
        ({"region": "eu-frankfurt-1", "privateKey": "canary"}, "oci:config:privateKey"),
        ({"region": "eu-frankfurt-1", "regoin": "x"}, "oci:config.regoin"),
    ],
)
def test_the_configuration_is_checked(world: World, settings: dict[str, Any], place: str) -> None:
    request = CheckRequest("urn:pulumi:dev::probe::pulumi:providers:oci::it", {}, property_map(settings), b"")
    reasons = [failure.reason for failure in asyncio.run(world.provider.check_config(request)).failures or []]
    assert [place in reason for reason in reasons] == ([True] if place else [])
    assert not any("canary" in reason for reason in reasons)


def test_without_a_folder_there_is_no_cloud(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    with pytest.raises(ProviderError, match=f"set {FOLDER_VARIABLE}"):
        world.vcn()


def test_a_preview_asks_nothing_and_knows_what_it_does_not_know(world: World) -> None:
    inputs = world.checked("Instance", world.instance_inputs(Made("Subnet", UNKNOWN, {}, {})))
    asked = asyncio.run(world.provider.create(CreateRequest(_urn("Instance"), inputs, 0, preview=True)))
    outputs = plain_map(asked.properties)
    assert outputs["privateIp"] == outputs["state"] == UNKNOWN
    assert outputs["createVnicDetails"]["subnetId"] == UNKNOWN
    assert outputs["shape"] == "VM.Standard.A1.Flex"
    assert world.machines.asked == []


def whole(world: World) -> dict[str, Made]:
    """One of each resource type."""
    made: dict[str, Made] = {}
    vcn = made["Vcn"] = world.vcn()
    place = {"compartmentId": COMPARTMENT, "vcnId": vcn.id}
    gateway = made["InternetGateway"] = world.create("InternetGateway", place)
    rule = {"networkEntityId": gateway.id, "destination": "0.0.0.0/0"}
    table = made["RouteTable"] = world.create("RouteTable", place | {"routeRules": [rule]})
    security = made["SecurityList"] = world.create("SecurityList", place | {"egressSecurityRules": []})
    parts = {"routeTableId": table.id, "securityListIds": [security.id]}
    subnet = made["Subnet"] = world.subnet(vcn, **parts)
    group = made["NetworkSecurityGroup"] = world.group(vcn)
    made["NetworkSecurityGroupSecurityRule"] = world.create(
        "NetworkSecurityGroupSecurityRule", rule_of(group)
    )
    instance = made["Instance"] = world.instance(subnet)
    volume = made["Volume"] = world.volume()
    made["VolumeAttachment"] = world.create("VolumeAttachment", world.attachment_inputs(instance, volume))
    made["ConsoleHistory"] = world.create("ConsoleHistory", {"instanceId": instance.id})
    reserved = {"compartmentId": COMPARTMENT, "lifetime": "RESERVED", "privateIpId": world.private_ip(subnet)}
    made["PublicIp"] = world.create("PublicIp", reserved)
    schedule = {"backupType": "INCREMENTAL", "period": "ONE_DAY", "retentionSeconds": 604800, "hourOfDay": 2}
    policy = made["VolumeBackupPolicy"] = world.create(
        "VolumeBackupPolicy", {"compartmentId": COMPARTMENT, "schedules": [schedule]}
    )
    made["VolumeBackupPolicyAssignment"] = world.create(
        "VolumeBackupPolicyAssignment", {"assetId": volume.id, "policyId": policy.id}
    )
    made["DynamicGroup"] = world.create("DynamicGroup", GROUP)
    made["Policy"] = world.create("Policy", POLICY)
    space = world.ask("oci:ObjectStorage/getNamespace:getNamespace")["namespace"]
    bucket = {"compartmentId": COMPARTMENT, "namespace": space, "name": "backups", "versioning": "Enabled"}
    made["Bucket"] = world.create("Bucket", bucket)
    made["ObjectLifecyclePolicy"] = world.create(
        "ObjectLifecyclePolicy", {"namespace": space, "bucket": "backups", "rules": [LIFECYCLE]}
    )
    topic = made["NotificationTopic"] = world.create("NotificationTopic", TOPIC)
    made["Subscription"] = world.create("Subscription", subscription_of(topic))
    made["Rule"] = world.create("Rule", event_rule_of(topic))
    return made


def rule_of(group: Made, **change: Any) -> dict[str, Any]:
    return {
        "networkSecurityGroupId": group.id,
        "direction": "INGRESS",
        "protocol": "6",
        "source": "203.0.113.0/24",
        "sourceType": "CIDR_BLOCK",
        "tcpOptions": {"destinationPortRange": {"min": 22, "max": 22}},
    } | change


def subscription_of(topic: Made, **change: Any) -> dict[str, Any]:
    return {
        "compartmentId": COMPARTMENT,
        "topicId": topic.id,
        "protocol": "EMAIL",
        "endpoint": "operator@example.com",
    } | change


def event_rule_of(topic: Made, **change: Any) -> dict[str, Any]:
    return {
        "compartmentId": COMPARTMENT,
        "displayName": "alerts",
        "isEnabled": True,
        "condition": CONDITION,
        "actions": {"action": [{"actionType": "ONS", "isEnabled": True, "topicId": topic.id}]},
    } | change


TOPIC = {"compartmentId": COMPARTMENT, "name": "alerts"}
CONDITION = json.dumps({"eventType": ["com.oraclecloud.objectstorage.createobject"], "data": {}})
GROUP = {
    "compartmentId": TENANCY,
    "name": "hosts",
    "description": "the host",
    "matchingRule": "Any {instance.id = 'ocid1.instance.oc1..x'}",
}
POLICY = {
    "compartmentId": COMPARTMENT,
    "name": "backups",
    "description": "the host writes backups",
    "statements": ["Allow dynamic-group hosts to read buckets in compartment id x"],
}
LIFECYCLE = {
    "name": "old",
    "action": "DELETE",
    "isEnabled": True,
    "timeAmount": "30",
    "timeUnit": "DAYS",
    "target": "previous-object-versions",
}


def test_one_of_each_type_reads_back_without_a_difference_and_goes_again(world: World) -> None:
    made = whole(world)
    assert made.keys() == TOKENS.keys()
    for resource in made.values():
        assert not world.diff(resource, {}).changes, resource.kind
        read = world.read(resource)
        assert read.resource_id == resource.id
        assert plain_map(read.inputs or {}) == plain_map(resource.inputs), resource.kind
        fresh = Made(resource.kind, resource.id, resource.inputs, read.properties)
        assert not world.diff(fresh, {}).changes, resource.kind
        outputs = RESOURCES[TOKENS[resource.kind]].kind.outputs
        known = {"publicIp", "subnetDomainName", "objectLifecyclePolicyEtag"}
        assert outputs <= plain_map(read.properties or {}).keys() | known, resource.kind
    for resource in reversed(made.values()):
        world.delete(resource)
    assert json.loads((world.folder / "state.json").read_text()) == {}
    assert world.machines.running == {}
    assert world.machines.asked[-1] == "remove_network"


def test_ids_look_like_ocids(world: World) -> None:
    made = whole(world)
    short = {"NetworkSecurityGroupSecurityRule", "Bucket", "ObjectLifecyclePolicy"}
    for kind in made.keys() - short:
        parts = made[kind].id.split(".")
        assert (parts[0], parts[2], len(parts[4])) == ("ocid1", "oc1", 60)
        assert parts[3] == ("" if kind in ("DynamicGroup", "Policy") else "eu-frankfurt-1")
    assert made["ObjectLifecyclePolicy"].id == made["Bucket"].id + "/l"


def test_a_gone_resource_reads_as_gone_and_deletes_without_an_error(world: World) -> None:
    vcn = world.vcn()
    (world.folder / "state.json").unlink()
    assert world.read(vcn).resource_id is None
    world.delete(vcn)


def test_a_state_file_is_whole_at_any_time_and_no_change_is_lost(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: world.vcn(), range(24)))
    assert len(json.loads((world.folder / "state.json").read_text())) == 24
    assert {file.name for file in world.folder.iterdir()} == {"state.json", "state.lock"}


REPLACES: dict[str, list[tuple[dict[str, Any], list[str]]]] = {
    "Vcn": [({"dnsLabel": "other"}, ["dnsLabel"])],
    "Subnet": [
        ({"vcnId": "x"}, ["vcnId"]),
        ({"dnsLabel": "x"}, ["dnsLabel"]),
        ({"prohibitPublicIpOnVnic": True}, ["prohibitPublicIpOnVnic"]),
    ],
    "NetworkSecurityGroupSecurityRule": [({"networkSecurityGroupId": "x"}, ["networkSecurityGroupId"])],
    "Instance": [
        ({"availabilityDomain": "Uocm:EU-FRANKFURT-1-AD-2"}, ["availabilityDomain"]),
        ({"isPvEncryptionInTransitEnabled": True}, ["isPvEncryptionInTransitEnabled"]),
        ({"metadata": {"ssh_authorized_keys": KEY + "2", "user_data": "I2Nsb3VkLWNvbmZpZwo="}}, ["metadata"]),
        ({"metadata": {"ssh_authorized_keys": KEY, "user_data": "eA=="}}, ["metadata"]),
        (
            {"createVnicDetails": {"subnetId": "x", "assignPublicIp": "false", "privateIp": "10.0.1.10"}},
            ["createVnicDetails"],
        ),
    ],
    "PublicIp": [({"lifetime": "EPHEMERAL"}, ["lifetime"])],
    "ConsoleHistory": [({"instanceId": "x"}, ["instanceId"])],
    "Volume": [({"availabilityDomain": "Uocm:EU-FRANKFURT-1-AD-2"}, ["availabilityDomain"])],
    "VolumeAttachment": [
        ({"device": "/dev/oracleoci/oraclevdc"}, ["device"]),
        ({"volumeId": "x"}, ["volumeId"]),
    ],
    "VolumeBackupPolicyAssignment": [({"policyId": "x"}, ["policyId"])],
    "DynamicGroup": [({"name": "x"}, ["name"])],
    "Bucket": [({"name": "x"}, ["name"]), ({"storageTier": "Archive"}, ["storageTier"])],
    "NotificationTopic": [({"name": "x"}, ["name"])],
    "Subscription": [
        ({"endpoint": "other@example.com"}, ["endpoint"]),
        ({"protocol": "SMS"}, ["protocol"]),
        ({"topicId": "x"}, ["topicId"]),
    ],
}
UPDATES: dict[str, list[dict[str, Any]]] = {
    "Vcn": [{"displayName": "x"}, {"cidrBlocks": ["10.0.0.0/16", "10.1.0.0/16"]}],
    "InternetGateway": [{"enabled": False}],
    "RouteTable": [{"routeRules": []}],
    "Subnet": [{"cidrBlock": "10.0.2.0/24"}, {"routeTableId": "x"}],
    "NetworkSecurityGroupSecurityRule": [{"source": "10.0.0.0/8"}, {"protocol": "17"}],
    "Instance": [
        {"shapeConfig": {"ocpus": 4, "memoryInGbs": 24}},
        {"shape": "VM.Standard.A2.Flex"},
        {"displayName": "x"},
        {"sourceDetails": {"sourceType": "image", "sourceId": "x"}},
    ],
    "PublicIp": [{"privateIpId": "x"}],
    "Volume": [{"sizeInGbs": "60"}, {"vpusPerGb": "20"}],
    "VolumeBackupPolicy": [{"schedules": []}],
    "DynamicGroup": [{"matchingRule": "All {instance.id = 'y'}"}],
    "Policy": [{"statements": ["Allow group x to read buckets in tenancy"]}],
    "Bucket": [{"versioning": "Suspended"}, {"objectEventsEnabled": True}],
    "ObjectLifecyclePolicy": [{"rules": [LIFECYCLE | {"timeAmount": "60"}]}],
    "NotificationTopic": [{"description": "x"}, {"compartmentId": TENANCY}],
    "Subscription": [{"freeformTags": {"a": "b"}}],
    "Rule": [
        {"condition": "{}"},
        {"isEnabled": False},
        {"actions": {"action": [{"actionType": "ONS", "isEnabled": True, "topicId": "x"}]}},
    ],
}


def test_what_replaces_and_what_updates(world: World) -> None:
    made = whole(world)
    for kind, cases in REPLACES.items():
        for change, replaced in cases:
            assert world.diff(made[kind], change).replaces == replaced, (kind, change)
    for kind, changes in UPDATES.items():
        for change in changes:
            found = world.diff(made[kind], change)
            assert (found.changes, found.replaces, found.diffs) == (True, [], list(change)), (kind, change)


def test_parts_of_an_instance_that_update_in_place(world: World) -> None:
    vcn = world.vcn()
    subnet, group = world.subnet(vcn), world.group(vcn)
    instance = world.instance(subnet)
    vnic = plain_map(instance.inputs)["createVnicDetails"]
    assert world.diff(instance, {"createVnicDetails": vnic | {"nsgIds": [group.id]}}).replaces == []
    other = plain_map(instance.inputs)["metadata"] | {"note": "x"}
    assert world.diff(instance, {"metadata": other}).replaces == []
    instance = world.update(instance, {"createVnicDetails": vnic | {"nsgIds": [group.id]}, "metadata": other})
    assert instance["createVnicDetails"]["nsgIds"] == [group.id]
    instance = world.update(instance, {"metadata": plain_map(instance.inputs)["metadata"] | {"note": "y"}})
    assert instance["metadata"]["note"] == "y"
    asked = list(world.machines.asked)
    instance = world.update(instance, {"shapeConfig": {"ocpus": 4, "memoryInGbs": 24}})
    assert (instance["shapeConfig"]["ocpus"], world.machines.asked) == (4, [*asked, "restart"])


def test_what_the_program_leaves_to_the_service_is_no_difference(world: World) -> None:
    instance = world.instance(world.subnet(world.vcn()))
    assert instance["faultDomain"] == "FAULT-DOMAIN-1"
    assert instance["createVnicDetails"]["nsgIds"] == []
    assert not world.diff(instance, {"availabilityDomain": DOMAIN.lower()}).changes


def test_an_input_that_the_program_drops_keeps_its_value(world: World) -> None:
    vcn = world.vcn()
    news = world.checked("Vcn", {"compartmentId": COMPARTMENT, "displayName": "renamed"})
    request = UpdateRequest(_urn("Vcn"), vcn.id, vcn.state, news, 0, [], preview=False)
    state = plain_map(asyncio.run(world.provider.update(request)).properties)
    assert (state["displayName"], state["cidrBlocks"], state["dnsLabel"]) == (
        "renamed",
        ["10.0.0.0/16"],
        "main",
    )


REFUSED_NETWORK: list[tuple[str, dict[str, Any], str]] = [
    ("vcn", {"cidrBlocks": ["10.0.0.1/16"]}, "has host bits set"),
    ("vcn", {"cidrBlocks": ["10.0.0.0/8"]}, "between /16 and /30"),
    ("vcn", {"cidrBlocks": []}, "at least one range"),
    ("vcn", {"cidrBlocks": ["10.0.0.0/16", "10.0.1.0/24"]}, "overlap"),
    ("vcn", {"dnsLabel": "with-hyphen"}, "dnsLabel with-hyphen is invalid"),
    ("vcn", {"compartmentId": "mine"}, "Invalid compartmentId mine"),
    ("subnet", {"cidrBlock": "10.1.0.0/24"}, "not within any of the VCN's CIDR blocks"),
    ("subnet", {"cidrBlock": "10.0.0.0/23", "dnsLabel": "b"}, "overlaps with this CIDR"),
    ("subnet", {"cidrBlock": "10.0.2.0/24"}, "already used by subnet"),
    (
        "subnet",
        {"cidrBlock": "10.0.2.0/24", "dnsLabel": "b", "routeTableId": "x"},
        "404-NotAuthorizedOrNotFound",
    ),
    ("subnet", {"cidrBlock": "10.0.2.0/24", "dnsLabel": "b", "securityListIds": ["x"]}, "404-NotAuth"),
]


@pytest.mark.parametrize(("what", "change", "message"), REFUSED_NETWORK)
def test_the_network_that_the_service_refuses(
    world: World, what: str, change: dict[str, Any], message: str
) -> None:
    vcn = world.vcn()
    world.subnet(vcn)
    with pytest.raises(ProviderError, match=message):
        world.vcn(**change) if what == "vcn" else world.subnet(vcn, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "tcp"}, "protocol tcp is invalid"),
        ({"protocol": "17"}, "tcpOptions is not allowed for protocol 17"),
        ({"direction": "IN"}, "direction 'IN' is invalid"),
        ({"source": "203.0.113.7/24"}, "has host bits set"),
        ({"source": ""}, "source must be given"),
        ({"sourceType": "ADDRESS"}, "sourceType 'ADDRESS' is invalid"),
        ({"sourceType": "NETWORK_SECURITY_GROUP", "source": "x"}, "404-NotAuthorizedOrNotFound"),
        ({"tcpOptions": {"destinationPortRange": {"min": 30, "max": 22}}}, "port range 30 to 22"),
        ({"tcpOptions": {"sourcePortRange": {"min": 0, "max": 22}}}, "port range 0 to 22"),
        ({"direction": "EGRESS"}, "source is not allowed"),
    ],
)
def test_a_rule_that_the_service_refuses(world: World, change: dict[str, Any], message: str) -> None:
    group = world.group(world.vcn())
    with pytest.raises(ProviderError, match=message):
        world.create("NetworkSecurityGroupSecurityRule", rule_of(group, **change))


def test_rules_about_groups(world: World) -> None:
    vcn = world.vcn()
    group, other = world.group(vcn), world.group(vcn)
    world.create(
        "NetworkSecurityGroupSecurityRule",
        rule_of(group, sourceType="NETWORK_SECURITY_GROUP", source=other.id),
    )
    with pytest.raises(ProviderError, match="references the Security Rule"):
        world.delete(other)
    world.delete(group)  # its own rules go with it
    world.delete(other)


REFUSED_INSTANCE: list[tuple[dict[str, Any], str]] = [
    ({"availabilityDomain": "Uocm:PHX-AD-1"}, "404-NotAuthorizedOrNotFound"),
    ({"shape": "VM.Standard.X9"}, "Shape VM.Standard.X9 is invalid"),
    ({"shapeConfig": {"memoryInGbs": 12}}, "shapeConfig.ocpus must be given"),
    ({"shapeConfig": {"ocpus": 100}}, "ocpus 100 is invalid"),
    ({"shapeConfig": {"ocpus": 1, "memoryInGbs": 65}}, "memoryInGbs 65 is invalid"),
    ({"shape": "VM.Standard.E5.Flex"}, "is not valid for image"),
    ({"sourceDetails": {"sourceType": "image", "sourceId": "x"}}, "Invalid imageId x"),
    ({"metadata": {"user_data": "#cloud-config"}}, "must be base64"),
    ({"metadata": {"note": "x" * 32000}}, "must not exceed 32000 bytes"),
    ({"metadata": {"ssh_authorized_keys": "not a key"}}, "Invalid ssh public key"),
    ({"faultDomain": "1"}, "faultDomain '1' is invalid"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED_INSTANCE)
def test_an_instance_that_the_service_refuses(world: World, change: dict[str, Any], message: str) -> None:
    subnet = world.subnet(world.vcn())
    with pytest.raises(ProviderError, match=message):
        world.instance(subnet, **change)
    assert not any(asked.startswith("launch") for asked in world.machines.asked)


@pytest.mark.parametrize(
    ("vnic", "message"),
    [
        ({"privateIp": "10.0.2.10"}, "is not in the subnet's CIDR"),
        ({"privateIp": "10.0.1.1"}, "is reserved"),
        ({"privateIp": "10.0.1.10"}, "409-Conflict, Private IP 10.0.1.10 is already in use"),
        ({"hostnameLabel": "under_score"}, "must comply with RFC"),
        ({"assignPublicIp": "yes"}, "assignPublicIp 'yes' is invalid"),
        ({"nsgIds": ["x"]}, "404-NotAuthorizedOrNotFound"),
    ],
)
def test_a_vnic_that_the_service_refuses(world: World, vnic: dict[str, Any], message: str) -> None:
    subnet = world.subnet(world.vcn())
    world.instance(subnet)
    with pytest.raises(ProviderError, match=message):
        world.instance(subnet, createVnicDetails={"subnetId": subnet.id, "assignPublicIp": "false"} | vnic)


def test_boot_volumes_have_at_least_fifty_gigabytes_and_never_shrink(world: World) -> None:
    subnet = world.subnet(world.vcn())
    source = world.instance_inputs(subnet)["sourceDetails"]
    with pytest.raises(ProviderError, match="bootVolumeSizeInGbs 40 is invalid"):
        world.instance(subnet, sourceDetails=source | {"bootVolumeSizeInGbs": "40"})
    instance = world.instance(subnet, sourceDetails=source | {"bootVolumeSizeInGbs": "100"})
    with pytest.raises(ProviderError, match="cannot be less than 100"):
        world.update(instance, {"sourceDetails": source | {"bootVolumeSizeInGbs": "50"}})


def test_an_instance_without_an_address_gets_one_of_each_kind(world: World) -> None:
    subnet = world.subnet(world.vcn())
    instance = world.instance(subnet, createVnicDetails={"subnetId": subnet.id})
    assert (instance["privateIp"], instance["publicIp"]) == ("10.0.1.2", "198.51.100.10")
    assert world.machines.asked[-2:] == ["launch platform-host 10.0.1.2", "connect_public 198.51.100.10"]
    closed = world.subnet(world.vcn(), prohibitPublicIpOnVnic=True)
    with pytest.raises(ProviderError, match="does not allow public IPs"):
        world.instance(closed, createVnicDetails={"subnetId": closed.id})


def test_a_launch_that_fails_leaves_nothing(world: World) -> None:
    subnet = world.subnet(world.vcn())
    world.machines.failing = "launch"
    with pytest.raises(ProviderError, match="500-InternalError, as the test wants it"):
        world.instance(subnet)
    assert world.machines.asked[-1] == "terminate"
    assert '"instance"' not in (world.folder / "state.json").read_text()


def test_an_instance_that_somebody_removed_takes_its_attachments_along(world: World) -> None:
    made = whole(world)
    world.machines.running.clear()
    assert world.read(made["Instance"]).resource_id is None
    assert world.read(made["VolumeAttachment"]).resource_id is None
    assert world.read(made["Volume"]).resource_id
    reserved = world.read(made["PublicIp"])
    assert plain_map(reserved.properties or {})["state"] == "AVAILABLE"
    for kind in ("VolumeAttachment", "Instance"):
        world.delete(made[kind])
    again = world.instance(made["Subnet"])  # its address is free again
    world.create("VolumeAttachment", world.attachment_inputs(again, made["Volume"]))
    moved = world.update(made["PublicIp"], {"privateIpId": world.private_ip(made["Subnet"])})
    assert (moved["ipAddress"], moved["state"]) == (made["PublicIp"]["ipAddress"], "ASSIGNED")


def test_a_reserved_address_moves_and_stays_the_same(world: World) -> None:
    subnet = world.subnet(world.vcn())
    world.instance(subnet)
    world.instance(subnet, createVnicDetails={"subnetId": subnet.id, "assignPublicIp": "false"})
    reserved = {"compartmentId": COMPARTMENT, "lifetime": "RESERVED"}
    address = world.create("PublicIp", reserved)
    assert (address["ipAddress"], address["state"]) == ("198.51.100.10", "AVAILABLE")
    first, second = world.private_ip(subnet), world.private_ip(subnet, "10.0.1.2")
    address = world.update(address, {"privateIpId": first})
    assert (address["assignedEntityId"], address["assignedEntityType"]) == (first, "PRIVATE_IP")
    with pytest.raises(ProviderError, match="already has a public IP"):
        world.create("PublicIp", reserved | {"privateIpId": first})
    world.machines.asked.clear()
    address = world.update(address, {"privateIpId": second})
    assert world.machines.asked == ["disconnect_public 198.51.100.10", "connect_public 198.51.100.10"]
    address = world.update(address, {"privateIpId": ""})
    assert (address["ipAddress"], address["state"]) == ("198.51.100.10", "AVAILABLE")


def test_a_reserved_address_is_no_second_one(world: World) -> None:
    subnet = world.subnet(world.vcn())
    vnic = {"subnetId": subnet.id, "privateIp": "10.0.1.10"}
    instance = world.instance(subnet, createVnicDetails=vnic)  # with an ephemeral address
    given = {"compartmentId": COMPARTMENT, "lifetime": "RESERVED", "privateIpId": world.private_ip(subnet)}
    with pytest.raises(ProviderError, match="already has a public IP"):
        world.create("PublicIp", given)
    world.update(instance, {"createVnicDetails": vnic | {"assignPublicIp": "false"}})
    assert world.machines.asked[-1] == "disconnect_public 198.51.100.10"
    assert world.create("PublicIp", given)["ipAddress"] == "198.51.100.10"


def test_another_image_means_another_boot_volume_with_the_same_addresses_and_volumes(world: World) -> None:
    made = whole(world)
    image = world.images(operatingSystemVersion="10", shape="VM.Standard.A1.Flex")[-1]["id"]
    world.machines.asked.clear()
    instance = world.update(made["Instance"], {"sourceDetails": {"sourceType": "image", "sourceId": image}})
    assert world.machines.asked == [
        "detach",
        "terminate",
        "launch platform-host 10.0.1.10",
        "connect_public 198.51.100.10",
        "attach /dev/oracleoci/oraclevdb",
    ]
    assert (instance["image"], instance.id) == (image, made["Instance"].id)
    assert instance["bootVolumeId"] != made["Instance"]["bootVolumeId"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volumeId": "x"}, "404-NotAuthorizedOrNotFound"),
        ({"device": "/dev/sdb"}, "is not a device path"),
        ({"attachmentType": "iscsi"}, "not part of this stand-in"),
        ({"device": "/dev/oracleoci/oraclevdb"}, "Device /dev/oracleoci/oraclevdb .* is already in use"),
    ],
)
def test_an_attachment_that_the_service_refuses(world: World, change: dict[str, Any], message: str) -> None:
    instance = world.instance(world.subnet(world.vcn()))
    world.create("VolumeAttachment", world.attachment_inputs(instance, world.volume()))
    second = world.attachment_inputs(instance, world.volume(), device="/dev/oracleoci/oraclevdc")
    with pytest.raises(ProviderError, match=message):
        world.create("VolumeAttachment", second | change)


def test_a_volume_is_attached_once_and_in_its_availability_domain(world: World) -> None:
    subnet = world.subnet(world.vcn())
    vnic = {"subnetId": subnet.id, "assignPublicIp": "false"}
    first, second = world.instance(subnet), world.instance(subnet, createVnicDetails=vnic)
    volume = world.volume()
    attached = world.create("VolumeAttachment", world.attachment_inputs(first, volume))
    with pytest.raises(ProviderError, match=f"409-Conflict, Volume {volume.id} currently attached"):
        world.create("VolumeAttachment", world.attachment_inputs(second, volume))
    with pytest.raises(ProviderError, match="may not be deleted while attached to an Instance"):
        world.delete(volume)
    world.delete(attached)
    world.create("VolumeAttachment", world.attachment_inputs(second, volume))
    far = world.volume(availabilityDomain="Uocm:EU-FRANKFURT-1-AD-2")
    with pytest.raises(ProviderError, match="different availability domains"):
        world.create("VolumeAttachment", world.attachment_inputs(first, far))


@pytest.mark.parametrize("size", ["49", "32769", "fifty", ""])
def test_a_size_that_the_service_refuses(world: World, size: str) -> None:
    with pytest.raises(ProviderError, match=r"sizeInGbs .* must be a whole number from 50 to 32768"):
        world.volume(sizeInGbs=size)


def test_a_volume_grows_and_never_shrinks(world: World) -> None:
    volume = world.update(world.volume(), {"sizeInGbs": "60"})
    assert (volume["sizeInGbs"], volume["sizeInMbs"]) == ("60", "61440")
    assert world.machines.asked == ["create_volume 50", "create_volume 60"]
    with pytest.raises(ProviderError, match="cannot be less than 60"):
        world.update(volume, {"sizeInGbs": "50"})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Vcn", "409-IncorrectState, .* is associated with Gateway that is in use"),
        ("InternetGateway", "references the Route Table .* You must remove the reference to proceed"),
        ("RouteTable", "references the Subnet"),
        ("SecurityList", "references the Subnet"),
        ("Subnet", "references the VNIC"),
        ("Volume", "may not be deleted while attached"),
    ],
)
def test_what_is_in_use_cannot_be_deleted(world: World, kind: str, message: str) -> None:
    made = whole(world)
    with pytest.raises(ProviderError, match=message):
        world.delete(made[kind])
    assert world.read(made[kind]).resource_id == made[kind].id


def test_a_subnet_changes_its_range_only_while_nothing_is_in_it(world: World) -> None:
    subnet = world.subnet(world.vcn())
    subnet = world.update(subnet, {"cidrBlock": "10.0.0.0/23"})
    assert world.machines.asked[-2:] == ["remove_network", "create_network 10.0.0.0/23"]
    world.instance(subnet)
    with pytest.raises(ProviderError, match=r"does not hold 10\.0\.1\.10, which is in use"):
        world.update(subnet, {"cidrBlock": "10.0.2.0/24"})
    with pytest.raises(ProviderError, match="not part of this stand-in"):
        world.update(subnet, {"cidrBlock": "10.0.0.0/22"})


def test_the_console_is_kept_as_it_was_and_read_by_the_piece(world: World) -> None:
    instance = world.instance(world.subnet(world.vcn()))
    history = world.create("ConsoleHistory", {"instanceId": instance.id})
    world.delete(instance)
    token = "oci:Core/getConsoleHistoryData:getConsoleHistoryData"
    assert world.read(history).resource_id
    assert len(world.ask(token, consoleHistoryId=history.id)["data"]) == 10240
    assert world.ask(token, consoleHistoryId=history.id, length=1000000)["data"].endswith("the end")
    with pytest.raises(ProviderError, match="length must be 10240 or more"):
        world.ask(token, consoleHistoryId=history.id, length=100)


def test_a_newer_image_comes_first_and_the_old_one_stays_usable(world: World) -> None:
    query = {
        "operatingSystem": "Oracle Linux",
        "operatingSystemVersion": "10",
        "shape": "VM.Standard.A1.Flex",
    }
    before = world.images(**query, sortBy="TIMECREATED", sortOrder="DESC", state="AVAILABLE")
    assert all("-aarch64-" in image["displayName"] for image in before)
    assert world.images(**query, sortOrder="ASC") == before[::-1]
    (world.folder / "settings.json").write_text('{"newer_image": true}')
    after = world.images(**query)
    assert [image["id"] for image in after[1:]] == [image["id"] for image in before]
    source = {"sourceType": "image", "sourceId": before[-1]["id"]}
    assert world.instance(world.subnet(world.vcn()), sourceDetails=source)["state"] == "RUNNING"
    assert [image["displayName"] for image in world.images(shape="VM.Standard.E5.Flex")] == [
        "Oracle-Linux-10.0-2025.09.16-0"
    ]


def test_functions_check_their_arguments(world: World) -> None:
    token = "oci:Identity/getAvailabilityDomains:getAvailabilityDomains"
    names = [domain["name"] for domain in world.ask(token, compartmentId=TENANCY)["availabilityDomains"]]
    assert names == [f"Uocm:EU-FRANKFURT-1-AD-{number}" for number in (1, 2, 3)]
    for given, place in (({}, "compartmentId"), ({"compartmentId": 1}, "compartmentId"), ({"x": 1}, "x")):
        response = asyncio.run(world.provider.invoke(InvokeRequest(token, property_map(given))))
        assert any(place in failure.reason for failure in response.failures or [])


def test_identity_changes_in_the_home_region_and_the_tenancy_only(world: World) -> None:
    with pytest.raises(ProviderError, match="404-NotAuthorizedOrNotFound"):
        world.create("DynamicGroup", GROUP | {"compartmentId": COMPARTMENT})
    group = world.create("DynamicGroup", GROUP)
    with pytest.raises(ProviderError, match="already exists"):
        world.create("DynamicGroup", GROUP)
    with pytest.raises(ProviderError, match="Invalid matching rule"):
        world.update(group, {"matchingRule": "Any {instance"})
    abroad = World(world.folder, "uk-london-1")
    with pytest.raises(ProviderError, match="go to your home region eu-frankfurt-1"):
        abroad.create("DynamicGroup", GROUP | {"name": "other"})
    assert abroad.read(group).resource_id == group.id
    with pytest.raises(ProviderError, match="dynamic-group strangers, which does not exist"):
        world.create("Policy", POLICY | {"statements": ["Allow dynamic-group strangers to read buckets"]})
    with pytest.raises(ProviderError, match="is not parsable"):
        world.create("Policy", POLICY | {"statements": ["Let everybody in"]})


def test_regions_see_their_own_only(world: World) -> None:
    vcn = world.vcn()
    assert World(world.folder, "uk-london-1").read(vcn).resource_id is None


def test_a_bucket_has_a_name_of_its_own_and_keeps_its_versions(world: World) -> None:
    bucket = whole(world)["Bucket"]
    with pytest.raises(ProviderError, match="409-BucketAlreadyExists"):
        world.create("Bucket", plain_map(bucket.inputs))
    with pytest.raises(ProviderError, match="404-NotAuthorizedOrNotFound"):
        world.create("Bucket", plain_map(bucket.inputs) | {"namespace": "other", "name": "x"})
    with pytest.raises(ProviderError, match="use Suspended"):
        world.update(bucket, {"versioning": "Disabled"})
    assert world.update(bucket, {"versioning": "Suspended"})["versioning"] == "Suspended"


def test_a_bucket_emits_no_events_unless_told(world: World) -> None:
    bucket = whole(world)["Bucket"]
    assert bucket["objectEventsEnabled"] is False
    assert not world.diff(bucket, {"objectEventsEnabled": False}).changes
    bucket = world.update(bucket, {"objectEventsEnabled": True})
    assert bucket["objectEventsEnabled"] is True
    assert world.update(bucket, {"objectEventsEnabled": False})["objectEventsEnabled"] is False


# --- topics, subscriptions, rules ---


def test_a_topic_s_name_is_its_own_in_the_tenancy(world: World) -> None:
    topic = world.create("NotificationTopic", TOPIC)
    assert topic["topicId"] == topic.id
    assert topic.id.startswith("ocid1.onstopic.oc1.eu-frankfurt-1.")
    for place in (world, World(world.folder, "us-ashburn-1")):
        with pytest.raises(ProviderError, match="409-Conflict, Topic with name alerts already exists"):
            place.create("NotificationTopic", TOPIC)
    with pytest.raises(ProviderError, match="Invalid topic name"):
        world.create("NotificationTopic", TOPIC | {"name": "with a blank"})
    assert world.update(topic, {"description": "x"})["description"] == "x"


def test_a_subscription_waits_for_its_owner_and_goes_with_its_topic(world: World) -> None:
    topic = world.create("NotificationTopic", TOPIC)
    subscription = world.create("Subscription", subscription_of(topic))
    assert subscription["state"] == "PENDING"
    for change, said in (
        ({"topicId": "ocid1.onstopic.oc1..x"}, "404-NotAuthorizedOrNotFound"),
        ({"endpoint": "nobody"}, "Invalid endpoint 'nobody' for the protocol EMAIL"),
        ({"protocol": "FAX"}, "protocol 'FAX' is invalid"),
    ):
        with pytest.raises(ProviderError, match=said):
            world.create("Subscription", subscription_of(topic, **change))
    reasons = world.check("Subscription", subscription_of(topic, deliveryPolicy="{}")).failures
    assert "'deliveryPolicy'" in reasons[0].reason
    world.delete(topic)
    assert world.read(subscription).resource_id is None


def test_a_rule_publishes_to_a_topic_that_exists(world: World) -> None:
    topic = world.create("NotificationTopic", TOPIC)
    rule = world.create("Rule", event_rule_of(topic))
    assert (rule["state"], rule["actions"]["action"][0]["state"]) == ("ACTIVE", "ACTIVE")
    assert world.update(rule, {"isEnabled": False})["state"] == "INACTIVE"
    lower = [{"actionType": "ons", "isEnabled": True, "topicId": topic.id}]
    assert not world.diff(rule, {"actions": {"action": lower}}).changes
    action = {"actionType": "ONS", "isEnabled": True, "topicId": topic.id}
    for change, said in (
        ({"condition": "eventType"}, "it is no JSON"),
        ({"condition": '{"eventTypes": []}'}, "only eventType, source and data"),
        ({"actions": {"action": []}}, "1 to 10 actions, not 0"),
        ({"actions": {"action": [action | {"actionType": "OSS"}]}}, "actionType 'OSS' is invalid"),
        ({"actions": {"action": [action | {"topicId": "x"}]}}, "404-NotAuthorizedOrNotFound"),
    ):
        with pytest.raises(ProviderError, match=said):
            world.create("Rule", event_rule_of(topic, **change))
    for change, name in (
        ({"actions": {"actions": [action]}}, "'actions.actions'"),
        ({"conditionDetails": {"eventTypes": []}}, "'conditionDetails'"),
    ):
        assert name in world.check("Rule", event_rule_of(topic, **change)).failures[0].reason


def test_a_test_can_let_a_type_fail(world: World) -> None:
    made = whole(world)
    (world.folder / "settings.json").write_text('{"failures": {"volumeattachment": "out of capacity"}}')
    with pytest.raises(ProviderError, match="500-InternalError, out of capacity"):
        world.delete(made["VolumeAttachment"])
    world.read(made["VolumeAttachment"])
    (world.folder / "settings.json").write_text('{"failure": 1}')
    with pytest.raises(ProviderError, match=r"settings\.json"):
        world.vcn()


def test_an_error_of_the_machines_is_an_error_of_the_service(world: World) -> None:
    world.machines.failing = "create_network"
    vcn = world.vcn()
    with pytest.raises(ProviderError, match="500-InternalError, as the test wants it"):
        world.subnet(vcn)
    world.delete(vcn)  # the subnet is not there


def test_what_fails_inside_a_change_changes_nothing(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, "eu-frankfurt-1", FakeMachines())

    def change() -> None:
        with cloud.state() as state:
            state.add("a", "vcn", {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change()
    with cloud.state() as state:
        assert state.records == {}


def test_a_home_with_other_plugins_gets_this_one_alone(tmp_path: Path) -> None:
    published = tmp_path / "plugins" / "resource-docker-v5.2.0" / "pulumi-resource-docker"
    published.parent.mkdir(parents=True)
    published.write_text("published")
    script = Path(__file__).parents[2] / "sandbox" / "providers" / "install.sh"
    run = ["sh", str(script), str(tmp_path), sys.executable, "oci"]
    for _ in range(2):
        subprocess.run(run, check=True)
        plugins = {folder.name.rpartition("-")[0] for folder in (tmp_path / "plugins").iterdir()}
        assert plugins == {"resource-docker", "resource-oci"}
    assert published.read_text() == "published"
    assert subprocess.run([*run, "other"], check=False, capture_output=True).returncode == 2


def test_the_package_is_imported_only_when_there_is_something_to_check() -> None:
    code = (
        "import sys; import sandbox.providers.stand_ins.oci.provider; "
        "sys.exit(any(name.startswith('pulumi_oci') or name == 'sandbox.machine.machine' for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
