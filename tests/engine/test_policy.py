"""Each rule of policy/ is broken through the real engine; the program itself breaks none."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation

from scripts.workstation import plugins
from tests.engine.platform import CHECKOUT, PROJECT, Platform, Run, canary
from tests.engine.production import Production

PACK = str(CHECKOUT / "policy")
AMD64, ARM64 = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
CATALOGUE = {
    "postgres": {"repository": "postgres", "tag": "17", "manifests": {"amd64": AMD64, "arm64": ARM64}}
}
SECRET = canary()

# Of resources that are as they have to be but for what their names say.
PROGRAM = f"""
import pulumi
import pulumi_command as command
import pulumi_docker as docker
import pulumi_oci as oci

SECRET = pulumi.Config().get("postgresPassword")
GOOD = dict(
    image="postgres@{ARM64}", restart="unless-stopped", memory=512, destroy_grace_seconds=30,
    capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"], adds=["CAP_CHOWN"]),
    ports=[dict(internal=5432, external=5432, ip="127.0.0.1")],
    volumes=[dict(host_path="/srv/data/postgres", container_path="/data")],
    envs=["PASSWORD_FILE=/run/password"],
)

def container(name, **bad):
    docker.Container(name, name=name, **(GOOD | bad))

container("good")
container("port-without-ip", ports=[dict(internal=5432, external=5432)])
container("port-everywhere", ports=[dict(internal=5432, external=5432, ip="0.0.0.0")])
container("tag", image="postgres:17")
container("amd64", image="postgres@{AMD64}")
container("unknown-digest", image="postgres@sha256:{"c" * 64}")
container("privileged", privileged=True)
container("host-network", network_mode="host")
container("socket", volumes=[dict(host_path="/var/run/docker.sock", container_path="/var/run/docker.sock")])
container("host-root", volumes=[dict(host_path="/", container_path="/host")])
container("docker-volume", volumes=[dict(volume_name="data", container_path="/data")])
container("no-memory", memory=None)
container("no-restart", restart=None)
container("capabilities", capabilities=None)
container("more-capabilities", capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"], adds=["CAP_SYS_ADMIN"]))
container("no-grace", destroy_grace_seconds=None)
container("env", envs=[pulumi.Output.secret("POSTGRES_PASSWORD=" + SECRET)])
docker.RemoteImage("image-tag", name="postgres:17")
docker.RemoteImage("good-image", name="postgres@{ARM64}")

command.local.Command("plain-stdin", create="cat >/dev/null", stdin="password: " + SECRET)
command.local.Command("argv", create=pulumi.Output.secret("login " + SECRET))
command.local.Command("good-command", create="cat >/dev/null", stdin=pulumi.Output.secret(SECRET))

mars = oci.Provider("mars", region="mars-north-1")
earth = pulumi.ResourceOptions(provider=oci.Provider("earth", region="eu-frankfurt-1"))
OCID = "ocid1.compartment.oc1..tests"

def rule(name, source, direction="INGRESS"):
    oci.core.NetworkSecurityGroupSecurityRule(
        name, network_security_group_id=OCID, direction=direction, protocol="all",
        **({{"source": source, "source_type": "CIDR_BLOCK"}} if direction == "INGRESS" else {{"destination": source, "destination_type": "CIDR_BLOCK"}}),
        opts=earth,
    )

rule("open-to-all", "0.0.0.0/0")
rule("open-to-all-6", "::/0")
rule("good-rule", "203.0.113.7/32")
rule("way-out", "0.0.0.0/0", "EGRESS")
oci.core.SecurityList(
    "open-list", compartment_id=OCID, vcn_id=OCID,
    ingress_security_rules=[dict(protocol="6", source="0.0.0.0/0", tcp_options=dict(min=443, max=443))], opts=earth,
)
oci.core.Instance(
    "x86", compartment_id=OCID, availability_domain="AD-1", shape="VM.Standard.E4.Flex",
    source_details=dict(source_type="image", source_id=OCID), opts=earth,
)

def volume(name, protect, backups):
    made = oci.core.Volume(
        name, compartment_id=OCID, availability_domain="AD-1", opts=pulumi.ResourceOptions.merge(earth, pulumi.ResourceOptions(protect=protect))
    )
    if backups:
        oci.core.VolumeBackupPolicyAssignment(name + "-backups", asset_id=made.id, policy_id=OCID, opts=earth)

volume("good-volume", True, True)
volume("unprotected", False, True)
volume("no-backups", True, False)
"""

# What is said of whom: the rule, and a part that says what to write.
EXPECTED = {
    ("port-without-ip", "no-public-port", "publishes port 5432 on every address of the host (ip "),
    ("port-everywhere", "no-public-port", "on every address of the host (ip 0.0.0.0); write ip: 127.0.0.1"),
    ("tag", "image-pinned", "takes the image postgres:17 by its tag; write repository@sha256:"),
    ("amd64", "image-pinned", "is built for amd64, and machines in OCI are arm64; write the digest"),
    ("unknown-digest", "image-pinned", "is not in images.json; write one of its digests"),
    ("image-tag", "image-pinned", "takes the image postgres:17 by its tag; write repository@sha256:"),
    ("privileged", "not-privileged", "is privileged, which is root on the host; take privileged away"),
    ("host-network", "not-privileged", "has networkMode host, and so sees what is the host's; write a network"),
    ("socket", "no-docker-socket", "mounts Docker's socket /var/run/docker.sock, which is root on the host; take"),
    ("host-root", "no-docker-socket", "mounts / of the host, and all but what is below /srv is the host's own"),
    ("docker-volume", "volume-below-srv-root", "keeps /data in a volume of Docker, which no backup sees; write host_path"),
    ("no-memory", "memory-limited", "has no limit of memory, and can end the others with it; write memory"),
    ("no-restart", "restarts", "has restart no, and is gone after a crash or a reboot; write restart: unless-stopped"),
    ("capabilities", "capabilities-dropped", 'keeps the capabilities that Docker gives; write capabilities drops: ["ALL"]'),
    ("more-capabilities", "capabilities-dropped", "adds the capability CAP_SYS_ADMIN; write only those of CHOWN"),
    ("no-grace", "ends-cleanly", "has destroyGraceSeconds 0, so that a replacement kills it at once; write destroyGraceSeconds"),
    ("env", "no-secret-in-the-open", "has the secret postgresPassword in envs[0], which others on the host can read; hand it"),
    ("env", "no-secret-in-the-open", "has POSTGRES_PASSWORD in its environment, which others on the host can read; hand it"),
    ("plain-stdin", "no-plain-secret", "has the secret postgresPassword in the clear in its input stdin, and so in the state; write"),
    ("argv", "no-secret-in-the-open", "has the secret postgresPassword in create, which others on the host can read; hand it"),
    ("mars", "known-region", "is for the region mars-north-1, which is not a known one; write one such as"),
    ("open-to-all", "no-open-ingress", "lets in everybody (0.0.0.0/0); write the networks of those who need it"),
    ("open-to-all-6", "no-open-ingress", "lets in everybody (::/0); write the networks of those who need it"),
    ("open-list", "no-open-ingress", "lets in everybody (0.0.0.0/0); write the networks of those who need it"),
    ("x86", "known-shape", "has the shape VM.Standard.E4.Flex, and images are pinned for Ampere (arm64); write VM"),
    ("unprotected", "volume-protected", "holds data and is not protected; write ResourceOptions(protect=True"),
    ("no-backups", "volume-backed-up", "holds data and has no backups; write a VolumeBackupPolicyAssignment"),
}  # fmt: skip


def violations(events: list[Any]) -> set[tuple[str, str, str]]:
    """Resource, rule and sentence of all that is forbidden."""
    found = [event.policy_event for event in events if event.policy_event]
    return {
        (e.resource_urn.rpartition("::")[2], e.policy_name, e.message.partition("\n")[2].strip())
        for e in found
        if getattr(e.enforcement_level, "value", e.enforcement_level) == "mandatory"
    }


class Tiny:
    """A stack of a program of a few lines, with the plugins of every kind of host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "backend").mkdir()
        (folder / ".venv").symlink_to(Path(sys.prefix))
        (folder / "images.json").write_text(json.dumps(CATALOGUE))
        (folder / "Pulumi.yaml").write_text(
            f"name: {PROJECT}\nruntime: {{name: python, options: {{virtualenv: .venv}}}}\n"
        )
        home = folder / "home"
        for plugin in plugins.NEEDED:
            plugins.link(home, plugin)
        plugins.install_stand_ins(home, (plugins.SIMULATED,))
        environment = {
            **os.environ,
            "PULUMI_HOME": str(home),
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_BACKEND_URL": f"file://{folder}/backend",
            "PULUMI_CONFIG_PASSPHRASE": "tests",
            "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
            "CDP_SIMULATED_OCI": str(folder),
        }
        (folder / "__main__.py").write_text("")
        self.stack = automation.create_or_select_stack(
            stack_name="prod",
            work_dir=str(folder),
            opts=automation.LocalWorkspaceOptions(env_vars=environment),
        )
        self.stack.set_config("host", automation.ConfigValue(json.dumps({"kind": "oci"})))
        self.stack.set_config("postgresPassword", automation.ConfigValue(SECRET, secret=True))

    def refused(self, program: str, action: str) -> Run:
        """What the engine says of a program that it must refuse."""
        (self.folder / "__main__.py").write_text(program)
        events: list[Any] = []
        with pytest.raises(automation.CommandError) as failed:
            getattr(self.stack, action)(on_event=events.append, policy_packs=[PACK])
        return Run(str(failed.value), events)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("policy"))


def test_every_rule_is_broken_by_what_breaks_it_and_by_nothing_else(tiny: Tiny) -> None:
    seen = violations(tiny.refused(PROGRAM, "preview").events)
    assert {(name, rule) for name, rule, _ in seen} == {(name, rule) for name, rule, _ in EXPECTED}
    for name, rule, part in EXPECTED:
        said = [sentence for who, which, sentence in seen if (who, which) == (name, rule)]
        assert [s for s in said if s.startswith(f"{name} ") and part in s], (name, rule, said)
    assert SECRET not in repr(seen)


def test_up_makes_nothing_of_what_is_forbidden(tiny: Tiny) -> None:
    head, _, _ = PROGRAM.partition('container("good")')
    run = tiny.refused(f'{head}container("privileged", privileged=True)\n', "up")
    assert {(name, rule) for name, rule, _ in violations(run.events)} == {("privileged", "not-privileged")}
    made = [e.res_outputs_event.metadata.urn for e in run.events if e.res_outputs_event]
    assert not [urn for urn in made if urn.endswith("::privileged")]


@pytest.mark.parametrize("kind", ["local", "production"])
def test_the_program_breaks_none(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, docker_host: str, catalogue: Path
) -> None:
    stack: Platform = (
        request.getfixturevalue("running")
        if kind == "local"
        else Production(tmp_path / "production", docker_host, catalogue)
    )
    run = stack.preview(policy_packs=[PACK])
    assert violations(run.events) == set()
    assert re.search(r"Policies:\s+\S+ central-data-platform@v1\.0\.0", run.output), run.output
