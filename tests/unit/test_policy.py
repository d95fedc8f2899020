"""Rules of policy/ over resources that keep to them and resources that do not; leave from them; the stack that they ask."""

import ast
import json
from collections.abc import Iterator
from datetime import date
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from components.host_settings import ARM_SHAPES
from components.render import services
from policy import stack, tree, waivers
from policy.model import Resource, Stack
from policy.rules import RULES, STACK_RULES, cloud, containers, volumes

ROOT = Path(__file__).parents[2]
AMD64, ARM64 = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
SECRET = "correct-horse-battery"
PROD = Stack(
    name="prod",
    in_oci=True,
    images={
        "postgres": {"amd64": AMD64, "arm64": ARM64},
        "127.0.0.1:5443/redis": {"amd64": AMD64},
    },
    secrets={"postgresPassword": SECRET, "short": "6432"},
)
COMMAND = "command:local:Command"
STATE = "pulumi-python:dynamic/host:State"
IMAGE = "docker:index/remoteImage:RemoteImage"

GOOD_CONTAINER: dict[str, Any] = {
    "image": f"postgres@{ARM64}",
    "restart": "unless-stopped",
    "memory": 512.0,
    "stopTimeout": 120.0,
    "destroyGraceSeconds": 120.0,
    "capabilities": {"drops": ["ALL"], "adds": ["CAP_CHOWN"]},
    "ports": [{"internal": 5432.0, "external": 5432.0, "ip": "127.0.0.1"}],
    "volumes": [{"hostPath": "/srv/data/postgres", "containerPath": "/data"}],
    "envs": ["POSTGRES_PASSWORD_FILE=/run/secrets/postgres", "TZ=UTC", "TOKEN="],
    "securityOpts": ["no-new-privileges:true"],
}


def container(**changed: Any) -> Resource:
    """One that keeps to every rule but for what is changed; None takes a property away."""
    inputs = {key: value for key, value in (GOOD_CONTAINER | changed).items() if value is not None}
    return Resource(containers.CONTAINER, "database", sent=inputs)


def group_rule(source: Any, direction: str = "INGRESS") -> Resource:
    return Resource(cloud.GROUP_RULE, "rule", sent={"direction": direction, "source": source})


def broken(resource: Resource, asked: Stack = PROD) -> list[tuple[str, str]]:
    """Rule and sentence of each fault."""
    return [(rule.name, sentence) for rule in RULES for sentence in rule.check(resource, asked)]


BAD = [
    (group_rule("0.0.0.0/0"), "no-open-ingress", "rule lets in everybody (0.0.0.0/0); write the networks"),
    (group_rule("::/0"), "no-open-ingress", "(::/0)"),
    (group_rule("128.0.0.0/1"), "no-open-ingress", "(128.0.0.0/1)"),
    *(
        (
            Resource(kind, "list", sent={"ingressSecurityRules": [{"source": "10.0.0.0/8"}, {"source": "0.0.0.0/0"}]}),
            "no-open-ingress",
            "list lets in everybody",
        )
        for kind in cloud.LISTS
    ),
    (Resource(cloud.PROVIDER, "oci", sent={"region": "eu-atlantis-1"}), "known-region", "eu-atlantis-1"),
    (Resource(cloud.INSTANCE, "vm", sent={"shape": "VM.Standard.E4.Flex"}), "known-shape", "write VM.Standard.A1"),
    (container(ports=[{"internal": 80.0, "external": 8080.0}]), "no-public-port", "port 8080 on every address of the host (ip not given)"),
    (container(ports=[{"external": 80.0, "ip": str(IPv4Address(0))}]), "no-public-port", "(ip 0.0.0.0)"),
    (container(ports=[{"external": 80.0, "ip": "::"}]), "no-public-port", "(ip ::)"),
    (container(publishAllPorts=True), "no-public-port", "publishes every port"),
    (container(privileged=True), "not-privileged", "take privileged away"),
    *((container(**{key: "host"}), "not-privileged", f"has {key} host") for key in containers.HOST_NAMESPACES),
    (container(securityOpts=["seccomp=unconfined"]), "not-privileged", "not confined (seccomp=unconfined)"),
    (container(securityOpts=["apparmor:unconfined"]), "not-privileged", "not confined (apparmor:unconfined)"),
    (container(devices=[{"hostPath": "/dev/sda"}]), "not-privileged", "/dev/sda"),
    (container(capabilities=None), "capabilities-dropped", 'write capabilities drops: ["ALL"]'),
    (container(capabilities={"drops": ["NET_RAW"]}), "capabilities-dropped", "keeps the capabilities"),
    (container(capabilities={"drops": ["CAP_ALL"], "adds": ["sys_admin"]}), "capabilities-dropped", "adds the capability sys_admin"),
    *(
        (container(volumes=[{"hostPath": path, "containerPath": "/x"}]), "no-docker-socket", f"mounts {path} of the host")
        for path in ("/", "/var/run", "/run", "/etc", "/srv", "/srv/../etc", "/srvx/data")
    ),
    (container(volumes=[{"hostPath": "/var/run/docker.sock"}]), "no-docker-socket", "mounts Docker's socket"),
    (container(mounts=[{"type": "bind", "source": "/proc", "target": "/x"}]), "no-docker-socket", "mounts /proc"),
    (container(memory=None), "memory-limited", "write memory (MiB)"),
    (container(memory=0.0), "memory-limited", "no limit of memory"),
    (container(restart=None), "restarts", "has restart no"),
    (container(restart="on-failure"), "restarts", "has restart on-failure"),
    (container(destroyGraceSeconds=None), "ends-cleanly", "at once; write destroyGraceSeconds: 120"),
    (container(destroyGraceSeconds=10.0), "ends-cleanly", "before its stopTimeout"),
    (container(destroyGraceSeconds=None, stopTimeout=None), "ends-cleanly", "write destroyGraceSeconds: 30"),
    (container(image="postgres:17"), "image-pinned", "takes the image postgres:17 by its tag"),
    (container(image=f"postgres:17@{ARM64}x"), "image-pinned", "by its tag"),
    (container(image=f"postgres@{AMD64}"), "image-pinned", "is built for amd64, and machines in OCI are arm64"),
    (container(image=f"mysql@{ARM64}"), "image-pinned", "is not in images.json"),
    (Resource(IMAGE, "image", sent={"name": "postgres"}), "image-pinned", "image takes the image postgres by its tag"),
    (container(volumes=[{"volumeName": "data", "containerPath": "/data"}]), "volume-below-srv-root", "keeps /data in a volume of Docker"),
    (Resource(volumes.DOCKER_VOLUME, "data"), "volume-below-srv-root", "write host_path with a folder below /srv"),
    (Resource(volumes.VOLUME, "disk"), "volume-protected", "protect=True"),
    (Resource(COMMAND, "job", sent={"stdin": f"a {SECRET} b"}), "no-plain-secret", "the secret postgresPassword in the clear in its input stdin"),
    (Resource(COMMAND, "job", sent={"triggers": [[SECRET]]}), "no-plain-secret", "triggers[0][0]"),
    (Resource("x:y:Z", "thing", sent={"adminPassword": "anything"}), "no-plain-secret", "has its input adminPassword in the clear"),
    (Resource("x:y:Z", "thing", sent={"logins": [{"token": "anything"}]}), "no-plain-secret", "has its input logins[0].token in the clear"),
    (Resource(COMMAND, "job", sent={"create": tree.Hidden(f"login {SECRET}")}), "no-secret-in-the-open", "postgresPassword in create"),
    (Resource(STATE, "state", sent={"words": tree.Hidden(["sh", "-c", SECRET])}), "no-secret-in-the-open", "in words[2]"),
    (Resource(COMMAND, "job", sent={"environment": {"DB_PASSWORD": tree.Hidden("x")}}), "no-secret-in-the-open", "has DB_PASSWORD in its environment"),
    (container(envs=[tree.Hidden("API_KEY=x")]), "no-secret-in-the-open", "name a file by API_KEY_FILE"),
    (container(labels=[{"label": "x", "value": tree.Hidden(SECRET)}]), "no-secret-in-the-open", "labels[0].value"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "rule", "part"), BAD)
def test_what_breaks_a_rule(resource: Resource, rule: str, part: str) -> None:
    found = broken(resource)
    assert [name for name, _ in found] == [rule]
    (_, sentence) = found[0]
    assert part in sentence
    assert sentence.startswith(f"{resource.name} ")
    assert "write " in sentence or "take" in sentence or "hand " in sentence
    assert SECRET not in sentence


def test_every_rule_is_broken_here() -> None:
    assert {rule for _, rule, _ in BAD} | {"catalogue-complete"} == {rule.name for rule in RULES}
    names = [rule.name for rule in (*RULES, *STACK_RULES)]
    assert len(set(names)) == len(names)
    table = (ROOT / "docs/policy.md").read_text(encoding="utf-8")
    assert [name for name in names if f"| `{name}` |" not in table] == []


@pytest.mark.parametrize(
    "resource",
    [
        container(),
        container(image=f"127.0.0.1:5443/redis@{AMD64}"),
        container(mounts=[{"type": "tmpfs", "target": "/tmp"}]),
        container(memory=tree.UNKNOWN, image=tree.UNKNOWN, ports=tree.UNKNOWN, capabilities=tree.UNKNOWN),
        container(ports=[{"external": 80.0, "ip": tree.UNKNOWN}], volumes=[{"hostPath": tree.UNKNOWN}]),
        Resource(IMAGE, "image", sent={"name": f"postgres@{ARM64}"}),
        Resource(IMAGE, "image", sent={"name": tree.UNKNOWN}),
        group_rule("203.0.113.7/32"),
        group_rule("10.0.0.0/8"),
        group_rule("ocid1.networksecuritygroup.oc1..x"),
        group_rule(tree.UNKNOWN),
        group_rule("0.0.0.0/0", "EGRESS"),
        Resource(cloud.LISTS[0], "nothing", sent={"ingressSecurityRules": []}),
        Resource(cloud.PROVIDER, "oci", sent={"region": "eu-frankfurt-1"}),
        Resource(cloud.INSTANCE, "vm", sent={"shape": "VM.Standard.A1.Flex"}),
        Resource(volumes.VOLUME, "disk", protected=True),
        Resource(COMMAND, "job", sent={"stdin": tree.Hidden(SECRET), "environment": {"SCRIPT": "cat 6432"}}),
        Resource("x:y:Z", "thing", sent={"password": tree.Hidden("x"), "token": tree.UNKNOWN}),
        Resource("pulumi:pulumi:Stack", "prod"),
    ],
)
def test_what_keeps_to_the_rules(resource: Resource) -> None:
    asked = Stack(in_oci=True, images=PROD.images, secrets=PROD.secrets)
    assert broken(resource, asked) == []


def test_this_machine_takes_the_image_that_is_built_for_it() -> None:
    local = Stack(images=PROD.images)
    assert broken(container(image=f"postgres@{AMD64}"), local) == []
    assert broken(container(image=f"postgres@{ARM64}"), local) == []


def test_an_image_that_is_not_built_for_oci_is_found_before_it_is_known() -> None:
    root = Resource("pulumi:pulumi:Stack", "prod")
    images = {"postgres": {"amd64": AMD64}}
    ((rule, sentence),) = broken(root, Stack(in_oci=True, images=images))
    assert rule == "catalogue-complete"
    assert sentence.startswith("images.json has no digest of postgres for arm64")
    assert broken(root, Stack(images=images)) == []


def test_a_volume_needs_an_assignment_of_its_own() -> None:
    (rule,) = STACK_RULES
    kept, lost = Resource(volumes.VOLUME, "kept", "urn:kept"), Resource(volumes.VOLUME, "lost", "urn:lost")
    assignment = Resource(volumes.ASSIGNMENT, "a", needs={"assetId": ["urn:kept"], "policyId": ["urn:lost"]})
    found = list(rule.check([kept, lost, assignment], PROD))
    assert [(resource.name, sentence.partition(";")[0]) for resource, sentence in found] == [
        ("lost", "lost holds data and has no backups")
    ]


def test_what_the_engine_sends_keeps_its_marks() -> None:
    secret = {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "value": {"a": ["x", "04da6b54-80e4-46f7-96ec-b56ff0331ba9"]},
    }
    found = tree.from_wire({"hidden": secret, "plain": ["y", 1.0, None, {"z": True}]})
    assert list(tree.texts(found)) == [("plain[0]", "y")]
    assert tree.unmarked(found) == {
        "hidden": {"a": ["x", tree.UNKNOWN]},
        "plain": ["y", 1.0, None, {"z": True}],
    }
    assert tree.from_wire(found) == found
    assert "x" not in repr(found["hidden"])


def test_what_rules_may_ask_of_a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(
        '{"postgres": {"repository": "p", "tag": "1", "manifests": {"arm64": "d"}}}'
    )
    found = stack.stack_of(
        "prod",
        "project",
        {
            "project:host": '{"kind": "oci"}',
            "project:srvRoot": "/data",
            "project:imageCatalogue": "mine.json",
            "project:postgresPassword": SECRET,
            "project:applicationPasswords": '{"shop": {"database": "12345678", "redis": 12345678}}',
        },
        ["project:postgresPassword", "project:applicationPasswords"],
    )
    assert (found.in_oci, found.srv_root, found.images) == (True, "/data", {"p": {"arm64": "d"}})
    assert found.secrets == {
        "postgresPassword": SECRET,
        "applicationPasswords.shop.database": "12345678",
        "applicationPasswords.shop.redis": "12345678",
    }
    assert SECRET not in repr(found)
    bare = stack.stack_of("local", "project", {"project:host": '{"kind": "local"}'}, [])
    assert (bare.in_oci, bare.srv_root, bare.catalogue) == (False, "/srv", "images.json")
    known = json.loads((ROOT / "images.json").read_text()).values()
    assert set(bare.images) == {image["repository"] for image in known if image["manifests"]}
    nowhere = {"project:imageCatalogue": "nowhere.json"}
    assert stack.stack_of("local", "project", nowhere, []).images == {}


DAY = date(2026, 11, 25)
ENTRY = """
- rule: no-open-ingress
  stack: prod
  resource: host-network-ssh-0.0.0.0/0
  reason: until the Bastion is there
  until: 2027-01-31
"""


def test_a_waiver_has_a_reason_and_an_end() -> None:
    good, faults = waivers.load(ENTRY, ["no-open-ingress"], DAY)
    assert faults == []
    assert [(w.rule, w.stack, w.until) for w in good] == [("no-open-ingress", "prod", date(2027, 1, 31))]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rule: no-open-ingress", "rule: no-ingress", "names the rule no-ingress, which there is not"),
        ("until the Bastion is there", "because", "gives no reason; write why"),
        ("2027-01-31", "2026-11-24", "ended on 2026-11-24; mend what it is for"),
        ("2027-01-31", "2028-01-31", "holds until 2028-01-31; write a day within a year"),
        ("2027-01-31", "soon", "has until soon, which is no day"),
        ("  stack: prod\n", "", "has other keys than"),
        ("- rule", "- [rule", "is not YAML (line 3)"),
        (ENTRY, "rule: no-open-ingress", "is no list"),
    ],
)
def test_a_waiver_that_does_not_hold(old: str, new: str, said: str) -> None:
    assert old in ENTRY
    good, faults = waivers.load(ENTRY.replace(old, new), ["no-open-ingress"], DAY)
    assert good == []
    (fault,) = faults
    assert "policy/waivers.yaml" in fault
    assert said in fault


def test_no_rule_is_waived_for_good_reason_or_none() -> None:
    names = [rule.name for rule in (*RULES, *STACK_RULES)]
    _, faults = waivers.load(waivers.FILE.read_text(encoding="utf-8"), names, waivers.today())
    assert faults == []


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_rules_know_neither_pulumi_nor_the_program() -> None:
    """A pack that loaded a provider's SDK would hold up each preview by seconds."""
    for path in (ROOT / "policy").rglob("*.py"):
        foreign = {name for name in imports(path) if name.startswith(("pulumi", "components", "scripts"))}
        assert foreign == ({"pulumi_policy"} if path.name == "pack.py" else set())
        assert "sandbox" not in path.read_text(encoding="utf-8")


def test_rules_and_program_agree() -> None:
    assert cloud.SHAPES == ARM_SHAPES
    said = ast.parse(Path(services.__file__).read_text(encoding="utf-8"))
    added = [n.value for n in ast.walk(said) if isinstance(n, ast.keyword) and n.arg == "capabilities"]
    assert {word for value in added for word in ast.literal_eval(value)} <= containers.CAPABILITIES
