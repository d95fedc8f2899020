"""What the program asks of OCI, and what it would do to a machine that runs."""

import base64
import re
import shlex
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.hosts.oci_backup_bucket import host_statements, service_statement
from components.hosts.oci_instance import newest
from components.render.service import NETWORK
from tests.unit.conftest import CANARIES, OCI_HOST, ROOT, run_program
from tests.unit.recording_engine import CLOUD, HOST_KEY, PUBLIC_ADDRESS, Recording, Registration, texts

RULE = "oci:Core/networkSecurityGroupSecurityRule:NetworkSecurityGroupSecurityRule"
CLIENTS = {"clientCidrs": ["10.20.2.0/24"]}
GROUP = "ocid1.networksecuritygroup.oc1.eu-frankfurt-1.aaaaclients"


def host(**changes: Any) -> dict[str, Any]:
    """The host's settings with changes."""
    return {**OCI_HOST, **changes}


def run(**plain: Any) -> Recording:
    """The prod stack with other settings; a fault of the program is a fault of the test."""
    recording = run_program("prod", architecture="arm64", plain=plain)
    if recording.error:
        raise recording.error
    return recording


def let_in(recording: Recording) -> set[tuple[str, int, int]]:
    """Source and port range of each rule that lets something in."""
    found: set[tuple[str, int, int]] = set()
    for rule in recording.of_type(RULE):
        if rule.inputs["direction"] == "INGRESS":
            assert rule.inputs["protocol"] == "6"
            ports = rule.inputs["tcpOptions"]["destinationPortRange"]
            found.add((rule.inputs["source"], int(ports["min"]), int(ports["max"])))
    return found


# --- who is let in ---


def test_nothing_comes_in_but_ssh_from_the_listed_networks(prod: Recording) -> None:
    assert let_in(prod) == {("203.0.113.7/32", 22, 22)}


def test_clients_reach_the_database_ports_and_no_other() -> None:
    recording = run(network=CLIENTS, host=host(clientGroups=[GROUP]))
    databases = {(s, p, p) for s in ("10.20.2.0/24", GROUP) for p in (5432, 6379, 6432)}
    assert let_in(recording) == databases | {("203.0.113.7/32", 22, 22)}
    kinds = {
        r.inputs["source"]: r.inputs["sourceType"] for r in recording.of_type(RULE) if "source" in r.inputs
    }
    assert kinds[GROUP] == "NETWORK_SECURITY_GROUP"
    assert kinds["10.20.2.0/24"] == "CIDR_BLOCK"


def test_ports_on_the_loopback_address_are_open_to_nobody() -> None:
    recording = run(network={**CLIENTS, "publishAddress": "127.0.0.1"})
    assert let_in(recording) == {("203.0.113.7/32", 22, 22)}


def test_the_subnet_s_security_list_lets_nothing_through(prod: Recording) -> None:
    (closed,) = prod.of_type("oci:Core/securityList:SecurityList")
    assert not closed.inputs.get("ingressSecurityRules")
    assert not closed.inputs.get("egressSecurityRules")
    (subnet,) = prod.of_type("oci:Core/subnet:Subnet")
    # Without it, the VCN's default list lets SSH in from everywhere.
    assert subnet.inputs["securityListIds"] == ["host-network-nothing-id"]


def test_only_outgoing_rules_know_every_network(prod: Recording) -> None:
    for registration in prod.registrations:
        if "0.0.0.0/0" in list(texts(registration.raw, bare=False)):
            assert (
                registration.inputs.get("direction") == "EGRESS"
                or registration.type == "oci:Core/routeTable:RouteTable"
            )


def test_ports_are_published_on_the_private_address_alone(prod: Recording) -> None:
    for container in prod.containers:
        if container.inputs["name"] != "postgres-wal":
            assert [port["ip"] for port in container.inputs["ports"]] == ["10.20.1.10"]
    assert prod.exports["pgbouncerAddress"] == "10.20.1.10:6432"


# --- the machine ---


def instance(recording: Recording) -> Registration:
    (found,) = recording.of_type("oci:Core/instance:Instance")
    return found


def test_the_newest_full_image_makes_the_machine_and_a_newer_one_does_not_replace_it(prod: Recording) -> None:
    assert instance(prod).inputs["sourceDetails"]["sourceId"] == "ocid1.image.oc1..newest"
    assert list(instance(prod).request.ignoreChanges) == ["sourceDetails.sourceId", "metadata"]
    (asked,) = [i for i in prod.invokes if i.token.endswith("getImages")]
    assert asked.args["shape"] == "VM.Standard.A1.Flex"
    assert asked.args["sortOrder"] == "DESC"


def test_a_region_without_an_image_ends_the_run_with_one_sentence() -> None:
    minimal = CLOUD["oci:Core/getImages:getImages"]["images"][0]
    with pytest.raises(pulumi.RunError, match="has no Oracle Linux 10 image for aarch64"):
        newest([(minimal["displayName"], minimal["id"])])


def test_the_machine_is_as_hard_as_oci_makes_it(prod: Recording) -> None:
    inputs = instance(prod).inputs
    assert inputs["instanceOptions"] == {"areLegacyImdsEndpointsDisabled": True}
    assert inputs["isPvEncryptionInTransitEnabled"] is True
    assert inputs["createVnicDetails"]["assignPublicIp"] == "false"
    assert inputs["createVnicDetails"]["privateIp"] == "10.20.1.10"
    assert inputs["shapeConfig"] == {"ocpus": 2, "memoryInGbs": 12}
    (attachment,) = prod.of_type("oci:Core/volumeAttachment:VolumeAttachment")
    assert attachment.inputs["isPvEncryptionInTransitEnabled"] is True
    assert attachment.inputs["device"] == "/dev/oracleoci/oraclevdb"


def test_metadata_holds_the_public_key_and_a_configuration_without_secrets(prod: Recording) -> None:
    metadata = instance(prod).inputs["metadata"]
    assert set(metadata) == {"ssh_authorized_keys", "user_data"}
    assert metadata["ssh_authorized_keys"] == OCI_HOST["sshPublicKey"].rpartition(" ")[0]
    text = base64.b64decode(metadata["user_data"]).decode()
    assert text.startswith("#cloud-config\n")
    assert yaml.safe_load(text)
    assert "PRIVATE" not in text
    assert not [word for word in CANARIES.values() if word in text]


def test_the_address_is_reserved_and_outlives_the_machine(prod: Recording) -> None:
    (address,) = prod.of_type("oci:Core/publicIp:PublicIp")
    assert address.inputs["lifetime"] == "RESERVED"
    assert address.inputs["privateIpId"] == "ocid1.privateip.oc1..one"


def test_without_a_public_address_the_way_is_a_jump_host_and_a_nat_gateway() -> None:
    recording = run(host=host(publicAddress=False, jumpHost="me@bastion.example"))
    assert not recording.of_type("oci:Core/publicIp:PublicIp")
    assert not recording.of_type("oci:Core/internetGateway:InternetGateway")
    assert len(recording.of_type("oci:Core/natGateway:NatGateway")) == 1
    (subnet,) = recording.of_type("oci:Core/subnet:Subnet")
    assert subnet.inputs["prohibitPublicIpOnVnic"] is True
    words = recording.exports["sshCommand"]
    assert "ProxyJump=me@bastion.example" in words
    assert words[-1] == "opc@10.20.1.10"


def test_identity_resources_are_made_in_the_home_region() -> None:
    recording = run(host=host(homeRegion="us-ashburn-1", profile="work"))
    regions = {r.name: r.inputs["region"] for r in recording.of_type("pulumi:providers:oci")}
    assert regions == {"host-oci": "eu-frankfurt-1", "host-oci-home": "us-ashburn-1"}
    for kind in ("oci:Identity/dynamicGroup:DynamicGroup", "oci:Identity/policy:Policy"):
        assert recording.of_type(kind)
        assert all("::host-oci-home::" in made.request.provider for made in recording.of_type(kind))
    (bucket,) = recording.of_type("oci:ObjectStorage/bucket:Bucket")
    assert "::host-oci::" in bucket.request.provider


# --- what is kept ---


def test_what_holds_data_is_protected_and_retained(prod: Recording) -> None:
    kept = {r.name for r in prod.registrations if r.request.protect and r.request.retainOnDelete}
    assert kept == {"host-data-volume", "host-backups-bucket"}
    assert instance(prod).request.protect


def test_every_volume_is_protected_and_backed_up(prod: Recording) -> None:
    volumes = prod.of_type("oci:Core/volume:Volume")
    assert volumes
    assert all(v.request.protect and v.request.retainOnDelete for v in volumes)
    (assigned,) = prod.of_type("oci:Core/volumeBackupPolicyAssignment:VolumeBackupPolicyAssignment")
    assert assigned.inputs["assetId"] == "host-data-volume-id"


def test_a_volume_that_exists_is_adopted() -> None:
    adopted = "ocid1.volume.oc1.eu-frankfurt-1.aaaakept"
    recording = run(host=host(dataVolumeId=adopted))
    assert not recording.of_type("oci:Core/volume:Volume")
    (attachment,) = recording.of_type("oci:Core/volumeAttachment:VolumeAttachment")
    assert attachment.inputs["volumeId"] == recording.exports["dataVolumeId"] == adopted


def test_the_bucket_is_private_and_keeps_versions(prod: Recording) -> None:
    (bucket,) = prod.of_type("oci:ObjectStorage/bucket:Bucket")
    assert bucket.inputs["accessType"] == "NoPublicAccess"
    assert bucket.inputs["versioning"] == "Enabled"
    assert bucket.inputs["name"] == "central-data-platform-prod-backups"


def test_the_host_may_write_to_its_bucket_and_nowhere_else(prod: Recording) -> None:
    (group,) = prod.of_type("oci:Identity/dynamicGroup:DynamicGroup")
    assert group.inputs["matchingRule"] == "instance.id = 'host-machine-instance-id'"
    for statement in [
        *host_statements("g", "b", compartment="c"),
        service_statement("b", compartment="c", region="r"),
    ]:
        assert statement.endswith("in compartment id c where target.bucket.name='b'")
    assert "in tenancy where" in service_statement("b", compartment="ocid1.tenancy.oc1..a", region="r")


def test_old_versions_are_deleted_once_the_service_may(prod: Recording) -> None:
    (lifecycle,) = prod.of_type("oci:ObjectStorage/objectLifecyclePolicy:ObjectLifecyclePolicy")
    # A policy takes effect some time after it was made: by the time the machine is there.
    assert {"host-backups-service-policy", "host-machine-instance"} <= prod.waits_for(lifecycle.name)
    assert "host-machine-instance" not in prod.waits_for("host-backups-service-policy")


# --- everything on the host goes and comes with the instance ---


def on_the_host(recording: Recording) -> list[Registration]:
    kinds = ("docker:", "command:", "pulumi:providers:docker", "pulumi-python:")
    return [r for r in recording.registrations if r.type.startswith(kinds)]


def test_what_is_on_the_host_is_deleted_with_the_instance(prod: Recording) -> None:
    bound = {r.name for r in on_the_host(prod) if r.request.deletedWith == instance(prod).urn}
    # Letting go of the volume is for a machine that still answers.
    assert {r.name for r in on_the_host(prod)} - bound == {"host-attach-data"}


def test_another_instance_runs_every_script_again(prod: Recording) -> None:
    for made in prod.commands:
        assert made.inputs["triggers"][0] == "host-machine-instance-id", made.name
    assert "host-attachment-id" in prod["host-attach-data"].inputs["triggers"]


def test_the_volume_is_let_go_before_it_is_detached(prod: Recording) -> None:
    mount = prod["host-attach-data"]
    assert "host-attachment" in prod.waits_for("host-attach-data")
    assert mount.inputs["delete"].endswith(' "$ON_DELETE" || :')
    assert mount.inputs["environment"]["ON_DELETE"].endswith(" release-data.sh /srv")


def test_docker_is_asked_for_nothing_before_it_answers(prod: Recording) -> None:
    for made in on_the_host(prod):
        if made.type.startswith(("docker:", "pulumi:providers:docker")):
            assert {"host-booted", "host-attach-data", "host-configure-docker"} <= prod.waits_for(
                made.name
            ) | (prod.waits_for("host-docker"))
    for made in prod.scripted:
        if made.name.startswith("platform-"):
            assert "host-label-tree" in prod.waits_for(made.name), made.name


# --- the way in ---


def test_every_script_goes_by_ssh_to_the_pinned_host(prod: Recording) -> None:
    for made in prod.commands:
        words = shlex.split(made.inputs["create"].replace('"$SCRIPT"', "SCRIPT"))
        if made.name == "host-booted":
            assert f"opc@{PUBLIC_ADDRESS}" in words
            assert "stdin" not in made.inputs
            continue
        assert words[0] == "ssh"
        assert f"KnownHostsCommand=/bin/echo %H {HOST_KEY}" in words
        assert words[-2:] == [f"opc@{PUBLIC_ADDRESS}", "SCRIPT"]
        assert shlex.split(made.inputs["environment"]["SCRIPT"])[:4] == ["sudo", "-n", "sh", "-c"]


def test_what_is_kept_in_order_goes_the_same_way(prod: Recording) -> None:
    for made in prod.host_states:
        words = made.inputs["words"]
        assert words[: len(prod.exports["sshCommand"])] == prod.exports["sshCommand"], made.name
        (line,) = words[len(prod.exports["sshCommand"]) :]
        assert shlex.split(line)[:4] == ["sudo", "-n", "sh", "-c"], made.name


def test_another_machine_is_another_way_to_what_is_kept_in_order(prod: Recording) -> None:
    """What makes it be brought about again: a new machine has a new key."""
    other = run(host=host(hostKey=HOST_KEY.replace("Host", "Said")))
    for made in prod.host_states:
        assert made.inputs["words"] != other[made.name].inputs["words"], made.name


def test_docker_goes_the_same_way(prod: Recording) -> None:
    provider = prod["host-docker"]
    assert provider.inputs["host"] == f"ssh://opc@{PUBLIC_ADDRESS}"
    options = provider.inputs["sshOpts"]
    assert [
        "ssh",
        *(options if isinstance(options, list) else yaml.safe_load(options)),
        f"opc@{PUBLIC_ADDRESS}",
    ] == (prod.exports["sshCommand"])


def test_a_key_that_is_set_needs_no_console() -> None:
    recording = run(host=host(hostKey=HOST_KEY.replace("Host", "Said")))
    assert not recording.of_type("oci:Core/consoleHistory:ConsoleHistory")
    assert any("SaidSaid" in word for word in recording.exports["sshCommand"])


def test_a_console_without_a_key_ends_the_run_with_one_sentence() -> None:
    from tests.unit.conftest import stack_configuration
    from tests.unit.recording_engine import configure, open_engine

    with open_engine(stack="prod", architecture="arm64") as engine:
        engine.cloud["oci:Core/getConsoleHistoryData:getConsoleHistoryData"] = {"data": "boot\n"}
        configure(stack_configuration("prod"), CANARIES)
        import runpy

        error = engine.run(lambda: runpy.run_path(str(ROOT / "__main__.py"))).error
    assert isinstance(error, pulumi.RunError)
    assert "shows no ed25519 host key" in str(error)
    assert "make trust-host" in str(error)


def test_an_error_repeats_no_script(recording: Recording) -> None:
    """pulumi-command's errors begin with the whole command line."""
    for made in recording.commands:
        assert "\n" not in made.inputs["create"], made.name
        assert "\n" in made.inputs["environment"]["SCRIPT"], made.name


# --- a changed setting ---


def inputs_of(recording: Recording) -> dict[str, dict[str, Any]]:
    return {r.name: r.inputs for r in recording.registrations}


def changed(before: Recording, after: Recording) -> set[str]:
    old, new = inputs_of(before), inputs_of(after)
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def test_another_size_changes_the_machine_and_is_waited_for(prod: Recording) -> None:
    waiting = {"host-booted", "host-configure-docker"}
    differing = changed(prod, run(host=host(ocpus=4, memoryGib=24)))
    assert {name for name in differing if name.startswith("host-")} == {"host-machine-instance", *waiting}
    # What runs on it follows.
    assert {
        "platform-postgres-container",
        "platform-redis-container",
        "platform-pgbouncer-container",
    } <= differing


def test_a_larger_disk_is_followed_by_its_file_system(prod: Recording) -> None:
    larger = run(host=host(dataVolumeGib=200, bootVolumeGib=100))
    assert {"host-attach-data", "host-grow-root"} <= changed(prod, larger)


def test_another_ssh_key_reaches_the_machine_by_its_script(prod: Recording) -> None:
    other = OCI_HOST["sshPublicKey"].replace("Operator", "Newcomer")
    # The instance's metadata differs too, which is ignored; bootstrap.sh is for a machine to come.
    assert changed(prod, run(host=host(sshPublicKey=other))) == {
        "host-machine-instance",
        "host-authorize-key",
        "platform-scripts",
    }
    old, new = (instance(r).inputs for r in (prod, run(host=host(sshPublicKey=other))))
    assert {k for k in new if new[k] != old.get(k)} == {"metadata"}


# --- what the machine is prepared with is there for the next one ---


def test_bootstrap_runs_the_same_scripts_in_the_same_order(prod: Recording) -> None:
    text = prod.files["/srv/apps/bootstrap.sh"].text
    scripts = re.findall(r"([a-z-]+\.sh)", text)
    prepared = [r.name.removeprefix("host-") + ".sh" for r in prod.commands if r.name.startswith("host-")]
    steps = [s for s in prepared if (ROOT / "scripts/host" / s).exists() and s != "grow-root.sh"]
    assert [s for s in dict.fromkeys(scripts) if s in steps] == steps
    for step in steps:
        written = prod.files[f"/srv/apps/bootstrap.d/{step}"].text
        assert written == (ROOT / "scripts/host" / step).read_text()


def test_a_marked_value_is_named_before_anything_is_made() -> None:
    plain = yaml.safe_load(Path(ROOT / "Pulumi.prod.yaml").read_text())["config"][
        "central-data-platform:host"
    ]
    recording = run_program("prod", plain={"host": plain})
    assert isinstance(recording.error, pulumi.RunError)
    assert "central-data-platform:host still holds values marked replace-me; run make init-prod" in str(
        recording.error
    )
    assert not recording.registrations


def test_the_network_s_name_is_the_contract_s(prod: Recording) -> None:
    (network,) = prod.of_type("docker:index/network:Network")
    assert network.inputs["name"] == NETWORK
