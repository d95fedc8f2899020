"""The pack as the engine speaks with it, leave from its rules, and how what it says reaches an operator."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pulumi_policy
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from policy import waivers
from policy.pack import Pack
from policy.rules import RULES, STACK_RULES
from scripts.workstation import session
from scripts.workstation.events import Narrator

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery"
HIDDEN = {
    "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
    "value": f"password {SECRET}",
}
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
IMAGE = "docker:index/remoteImage:RemoteImage"


@pytest.fixture(scope="module")
def pack() -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """The pack's own process, told of a stack as the engine tells it."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", str(ROOT / "policy")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
        stub = analyzer_pb2_grpc.AnalyzerStub(channel)
        stub.ConfigureStack(
            analyzer_pb2.AnalyzerStackConfigureRequest(
                stack="prod",
                project="central-data-platform",
                config={
                    "central-data-platform:host": json.dumps({"kind": "oci"}),
                    "central-data-platform:postgresPassword": SECRET,
                },
                config_secret_keys=["central-data-platform:postgresPassword"],
            )
        )
        yield stub
    process.kill()
    process.wait()
    process.stdout.close()


def analyze(pack: analyzer_pb2_grpc.AnalyzerStub, kind: str, **inputs: Any) -> list[tuple[str, str]]:
    """Rule and message of what is said of a resource `thing`."""
    properties = struct_pb2.Struct()
    properties.update(inputs)
    request = analyzer_pb2.AnalyzeRequest(type=kind, name="thing", urn=f"urn::{kind}::thing")
    request.properties.CopyFrom(properties)
    said = pack.Analyze(request).diagnostics
    assert {d.enforcementLevel for d in said} <= {analyzer_pb2.MANDATORY}
    return [(d.policyName, d.message) for d in said]


def test_the_engine_is_offered_every_rule(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    info = pack.GetAnalyzerInfo(empty_pb2.Empty())
    names = [policy.name for policy in info.policies]
    assert names == [r.name for r in RULES] + [
        "waivers-hold",
        *(r.name for r in STACK_RULES),
        "waivers-in-force",
    ]


def test_marks_on_secrets_and_the_configuration_reach_the_rules(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    command = "command:local:Command"
    assert analyze(pack, command, create="cat", stdin=HIDDEN) == []
    ((rule, message),) = analyze(pack, command, create="cat", stdin=HIDDEN["value"])
    assert (rule, message.partition("\n")[2].partition(" in its")[0]) == (
        "no-plain-secret",
        "thing has the secret postgresPassword in the clear",
    )
    assert SECRET not in message
    assert [rule for rule, _ in analyze(pack, command, create=HIDDEN)] == ["no-secret-in-the-open"]
    # A machine in OCI, of the checkout's catalogue.
    postgres = json.loads((ROOT / "images.json").read_text())["postgres"]
    names = {a: f"{postgres['repository']}@{digest}" for a, digest in postgres["manifests"].items()}
    assert analyze(pack, IMAGE, name=names["arm64"]) == []
    assert [rule for rule, _ in analyze(pack, IMAGE, name=names["amd64"])] == ["image-pinned"]
    assert analyze(pack, IMAGE, name=UNKNOWN) == []


def test_leave_is_for_one_resource_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until = waivers.today().isoformat()
    file = tmp_path / "waivers.yaml"
    file.write_text(
        f"- {{rule: image-pinned, stack: '', resource: old, reason: until it is pinned, until: {until}}}\n"
        "- {rule: image-pinned, stack: '', resource: other, reason: long ago, until: 2020-01-01}\n"
    )
    monkeypatch.setattr(waivers, "FILE", file)
    policies = {policy.name: policy for policy in Pack().policies()}
    said: list[str] = []

    def report(message: str, urn: str | None = None) -> None:
        del urn
        said.append(message)

    def validate(rule: str, kind: str, resource: str, **inputs: Any) -> list[str]:
        said.clear()
        options = pulumi_policy.PolicyResourceOptions(
            False, [], None, [], pulumi_policy.PolicyCustomTimeouts(0, 0, 0), []
        )
        policy = policies[rule]
        assert isinstance(policy, pulumi_policy.ResourceValidationPolicy)
        policy.validate(
            pulumi_policy.ResourceValidationArgs(kind, inputs, "urn", resource, options, None), report
        )
        return list(said)

    assert validate("image-pinned", IMAGE, "old", name="redis:7") == []
    assert len(validate("image-pinned", IMAGE, "new", name="redis:7")) == 1
    assert validate("waivers-hold", "pulumi:pulumi:Stack", "prod") == [
        "entry 2 of policy/waivers.yaml gives no reason; write why, in 10 characters or more",
        "entry 2 of policy/waivers.yaml ended on 2020-01-01; mend what it is for, or write a new day and reason",
    ]
    said.clear()
    in_force = policies["waivers-in-force"]
    assert isinstance(in_force, pulumi_policy.StackValidationPolicy)
    in_force.validate(pulumi_policy.StackValidationArgs([]), report)
    assert said == [f"image-pinned is waived for old until {until}: until it is pinned"]
    assert in_force.enforcement_level == pulumi_policy.EnforcementLevel.ADVISORY


def test_what_a_rule_says_comes_out_as_one_sentence() -> None:
    said: list[str] = []
    narrator = Narrator(said.append)
    event = {
        "resourceUrn": "urn:pulumi:local::p::docker:index/container:Container::db",
        "policyName": "restarts",
    }
    forbidden = "db has restart no; write restart: unless-stopped"
    narrator.hear(
        {"policyEvent": {**event, "message": f"Title.\n{forbidden}\n", "enforcementLevel": "mandatory"}}
    )
    narrator.hear(
        {"policyEvent": {**event, "message": f"Title.\n{forbidden}\n", "enforcementLevel": "mandatory"}}
    )
    narrator.hear(
        {"policyEvent": {**event, "message": "Leave.\nx is waived\n", "enforcementLevel": "advisory"}}
    )
    assert narrator.errors == [forbidden]
    assert said == ["warning: x is waived"]


@pytest.mark.parametrize("command", ["preview", "up"])
def test_what_changes_a_stack_is_held_to_the_rules(command: str) -> None:
    words = session.Session(stack="prod", environment={}).words(command, "--diff")
    assert words[-2:] == ["--policy-pack", str(ROOT / "policy")]
    assert "--policy-pack" not in session.Session(stack="prod", environment={}).words("destroy")
