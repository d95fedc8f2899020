"""`make drift`: how containers are compared, and what is said of what differs. The engine tests have the real thing."""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from scripts.workstation import drift
from scripts.workstation.container_drift import changed_in_place, differences
from scripts.workstation.drift import Finding, as_json, as_table, of_states
from scripts.workstation.parts import Kind, Part
from scripts.workstation.plan import Action, Change, Drift, Plan
from scripts.workstation.session import Session
from scripts.workstation.target import Target
from scripts.workstation.trouble import Trouble

INPUTS: dict[str, Any] = {
    "name": "postgres-db",
    "image": "postgres@sha256:1",
    "envs": ["PGDATA=/data"],
    "labels": [{"label": "project", "value": "postgres-stack"}],
    "volumes": [
        {"containerPath": "/data", "hostPath": "/srv/data", "readOnly": False},
        {"containerPath": "/etc/postgresql", "hostPath": "/srv/config", "readOnly": True},
    ],
    "memory": 512,
    "shmSize": 256,
    "restart": "unless-stopped",
    "ports": [{"external": 5432, "internal": 5432, "ip": "127.0.0.1", "protocol": "tcp"}],
    "capabilities": {"adds": ["CAP_CHOWN"], "drops": ["ALL"]},
    "securityOpts": ["no-new-privileges:true"],
    "networksAdvanced": [{"name": "central-data-platform"}],
}
IMAGE: dict[str, Any] = {
    "Id": "sha256:abc",
    "Config": {"Env": ["PATH=/bin", "PGDATA=/elsewhere"], "Volumes": {"/declared": {}}},
}


def found() -> dict[str, Any]:
    """A container that is as INPUTS says, as Docker inspects it."""
    return {
        "Id": "id",
        "Image": "sha256:abc",
        "State": {"Running": True},
        "Config": {
            "Env": ["PGDATA=/data", "PATH=/bin"],
            "Labels": {"project": "postgres-stack", "of": "image"},
        },
        "HostConfig": {
            "Memory": 512 << 20,
            "ShmSize": 256 << 20,
            "RestartPolicy": {"Name": "unless-stopped"},
            "PortBindings": {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5432"}]},
            "CapAdd": ["CHOWN"],
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Privileged": False,
        },
        "Mounts": [
            {"Source": "/srv/data", "Destination": "/data", "RW": True},
            {"Source": "/srv/config", "Destination": "/etc/postgresql", "RW": False},
            {"Source": "/var/lib/docker/volumes/x", "Destination": "/declared", "RW": True},
        ],
        "NetworkSettings": {"Networks": {"central-data-platform": {}}},
    }


def put(document: dict[str, Any], path: str, value: Any) -> None:
    *folders, last = path.split(".")
    for folder in folders:
        document = document[folder]
    document[last] = value


def test_a_container_as_it_was_made_does_not_differ() -> None:
    assert differences(INPUTS, "id", found(), IMAGE) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("Id", "other", ["is another container than the one that pulumi has made"]),
        ("State.Running", False, ["does not run"]),
        ("Image", "sha256:0123456789abcdef", ["runs another image (sha256:0123456789ab)"]),
        ("Config.Env", ["PATH=/bin"], ["has no PGDATA in its environment"]),
        ("Config.Env", ["PATH=/bin", "PGDATA=/x"], ["has another PGDATA in its environment"]),
        ("Config.Env", ["PATH=/bin", "PGDATA=/data", "TOKEN=canary"], ["has TOKEN in its environment"]),
        ("Config.Labels", {"of": "image"}, ["has not the label project=postgres-stack"]),
        (
            "Mounts",
            [{"Source": "/srv/data", "Destination": "/data", "RW": True}],
            ["has nothing mounted on /etc/postgresql"],
        ),
        ("HostConfig.Memory", 0, ["has memory without a limit, not 512 MiB"]),
        ("HostConfig.ShmSize", 64 << 20, ["has shmSize 64 MiB, not 256 MiB"]),
        ("HostConfig.RestartPolicy", {"Name": ""}, ["is restarted no, not unless-stopped"]),
        (
            "HostConfig.PortBindings",
            {"5432/tcp": [{"HostIp": "", "HostPort": "5432"}]},
            ["does not publish 127.0.0.1:5432 for 5432/tcp", "publishes 0.0.0.0:5432 for 5432/tcp"],
        ),
        ("HostConfig.Privileged", True, ["is privileged"]),
        (
            "HostConfig.CapAdd",
            ["CAP_CHOWN", "CAP_SYS_ADMIN"],
            ["adds the capabilities CHOWN, SYS_ADMIN, not CHOWN"],
        ),
        ("HostConfig.CapDrop", None, ["drops the capabilities none, not ALL"]),
        (
            "HostConfig.SecurityOpt",
            ["seccomp=unconfined"],
            ["has the security options seccomp=unconfined, not no-new-privileges:true"],
        ),
        (
            "NetworkSettings.Networks",
            {"other": {}},
            ["is not on the network central-data-platform", "is on the network other too"],
        ),
    ],
)
def test_each_difference_of_a_container_is_a_sentence(path: str, value: Any, said: list[str]) -> None:
    changed = found()
    put(changed, path, value)
    assert differences(INPUTS, "id", changed, IMAGE) == said


def test_mounts_are_compared_by_place_source_and_mode() -> None:
    changed = found()
    changed["Mounts"][1]["RW"] = True
    changed["Mounts"][0]["Source"] = "/elsewhere"
    changed["Mounts"].append({"Source": "/etc", "Destination": "/host", "RW": False})
    assert differences(INPUTS, "id", changed, IMAGE) == [
        "has /elsewhere mounted on /data, writable",
        "has /srv/config mounted on /etc/postgresql, writable",
        "has /etc mounted on /host too",
    ]


def test_another_user_is_seen_where_one_is_named() -> None:
    changed = found()
    changed["Config"]["User"] = ""
    assert differences({**INPUTS, "user": "1001"}, "id", changed, IMAGE) == ["runs as user root, not 1001"]


def test_without_its_image_only_what_depends_on_it_is_left_out() -> None:
    changed = found()
    changed["HostConfig"]["Memory"] = 1 << 20
    changed["Mounts"].pop()
    assert differences(INPUTS, "id", changed, None) == ["has memory 1 MiB, not 512 MiB"]
    assert differences(INPUTS, "id", None, IMAGE) == ["is gone"]


def part(kind: Kind, words: str) -> Part:
    return Part(kind=kind, words=words)


def test_what_a_refresh_finds_is_drift_only_where_up_does_something() -> None:
    files = part(Kind.FILES, "config/platform.env")
    network = part(Kind.NETWORK, "the Docker network")
    plan = Plan(
        drift=[
            Drift(name="file", part=files, sentences=["a is missing", "b has another text"]),
            Drift(name="network", part=network, sentences=["networkDatas is another one"]),
        ],
        changes=[
            Change(name="file", part=files, action=Action.CHANGED),
            Change(name="unrelated", part=files, action=Action.MADE),
        ],
    )
    assert of_states(plan) == [
        Finding(what="config/platform.env", differs=text, remedy="puts it in order", repaired=True)
        for text in ("a is missing", "b has another text")
    ]


def test_what_is_changed_in_place_is_memory_and_restarts_alone() -> None:
    changed = found()
    changed["HostConfig"] |= {"Memory": 1 << 20, "ShmSize": 1 << 20, "RestartPolicy": {"Name": "no"}}
    changed["NetworkSettings"]["Networks"]["other"] = {}
    assert changed_in_place(INPUTS, changed) == [
        "has memory 1 MiB, not 512 MiB",
        "is restarted no, not unless-stopped",
    ]


REPAIRED = Finding(what="a file", differs="has another text", remedy="puts it in order", repaired=True)
LEFT = Finding(what="roles", differs="boss is a superuser", remedy="leaves it: drop it", repaired=False)


@pytest.mark.parametrize(
    ("findings", "ending"),
    [
        ([REPAIRED], "One difference: make up ARGS=--refresh STACK=prod repairs it."),
        ([REPAIRED] * 2, "2 differences: make up ARGS=--refresh STACK=prod repairs all of them."),
        ([LEFT], "One difference, which no up repairs."),
        ([LEFT, REPAIRED], "2 differences: make up ARGS=--refresh STACK=prod repairs 1 of them."),
    ],
)
def test_the_table_ends_with_what_to_do(findings: list[Finding], ending: str) -> None:
    assert as_table(findings, " STACK=prod").splitlines()[-1] == ending


def test_the_table_is_aligned_and_no_drift_is_one_line() -> None:
    lines = as_table([REPAIRED, LEFT], "").splitlines()
    assert lines[:3] == [
        "WHAT    DIFFERS              UP",
        "a file  has another text     puts it in order",
        "roles   boss is a superuser  leaves it: drop it",
    ]
    assert as_table([], "") == "No drift: the host is as the last up left it."


def test_the_form_for_machines() -> None:
    assert json.loads(as_json([LEFT])) == {
        "schema": 1,
        "drift": [
            {
                "what": "roles",
                "differs": "boss is a superuser",
                "remedy": "leaves it: drop it",
                "repaired": False,
            }
        ],
    }


def _fails(fault: BaseException) -> Any:
    def findings() -> list[Finding]:
        raise fault

    return findings


def test_what_could_not_be_looked_at_is_neither_drift_nor_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["drift"])
    monkeypatch.setattr(drift, "findings", _fails(Trouble("no way to the host")))
    with pytest.raises(Trouble, match="no way to the host") as trouble:
        drift.main()
    assert trouble.value.code == 2
    monkeypatch.setattr(drift, "findings", _fails(KeyError("a fault of ours")))
    assert drift.main() == 2
    assert "a fault of ours" in capsys.readouterr().err


@pytest.mark.parametrize(("findings", "code"), [([], 0), ([LEFT], 1)])
def test_the_exit_code_says_whether_there_is_drift(
    monkeypatch: pytest.MonkeyPatch, findings: list[Finding], code: int
) -> None:
    monkeypatch.setattr("sys.argv", ["drift", "--json"])
    monkeypatch.setattr(drift, "findings", lambda: findings)
    assert drift.main() == code


def test_an_option_that_it_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["drift", "--jsno"])
    with pytest.raises(Trouble, match="make drift knows only ARGS=--json, not --jsno") as trouble:
        drift.main()
    assert trouble.value.code == 2


def test_a_look_that_pulumi_could_not_begin_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(words: Any, **_: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(words, 255, "", "\nerror: no stack named 'x' found\n")

    monkeypatch.setattr(drift, "answer", answer)
    with pytest.raises(Trouble, match="the host could not be looked at: error: no stack named 'x' found"):
        drift.looked_at(Session(stack="x", environment={}))


class Noting:
    """A host that runs what it is told here, unless it cannot be reached."""

    def __init__(self, srv_root: Path, *, reached: bool = True) -> None:
        self.srv_root, self._reached = srv_root, reached

    def run_as_root(self, command: Sequence[str]) -> int:
        if not self._reached:
            raise Trouble("no way to the host")
        return subprocess.run(command, check=False).returncode


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (0, r"ok\t\d+\tnothing differs\n"),
        (1, r"fail\t\d+\tOne difference\n"),
        (3, r"fail\t\d+\t3 differences\n"),
    ],
)
def test_the_host_keeps_a_note_for_make_status(tmp_path: Path, count: int, line: str) -> None:
    folder = tmp_path / "it's srv" / "backups/state"
    folder.mkdir(parents=True)
    drift.note(cast(Target, Noting(tmp_path / "it's srv")), count)
    assert re.fullmatch(line, (folder / "drift").read_text())
    assert [path.name for path in folder.iterdir()] == ["drift"]


@pytest.mark.parametrize("reached", [True, False])
def test_a_note_that_cannot_be_left_does_not_change_what_was_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], reached: bool
) -> None:
    drift.note(cast(Target, Noting(tmp_path, reached=reached)), 2)
    said = capfd.readouterr()
    assert said.out == ""
    assert f"no note of this look could be left in {tmp_path}/backups/state" in said.err
