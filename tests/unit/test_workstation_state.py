"""Edits of an exported state: what a lost machine takes with it goes, and nothing that stays mentions it any more."""

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.workstation import state
from scripts.workstation.session import Session
from scripts.workstation.state import State
from scripts.workstation.trouble import Trouble

PREFIX = "urn:pulumi:prod::central-data-platform::"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}


def urn(kind: str, name: str) -> str:
    return f"{PREFIX}{kind}::{name}"


STACK = urn("pulumi:pulumi:Stack", "prod")
HOST = urn("central-data-platform:hosts:OciHost", "host")
CLOUD = urn("pulumi:providers:oci", "host-oci")
DOCKER = urn("pulumi:providers:docker", "host-docker")
INSTANCE = urn(state.INSTANCE, "machine")
VOLUME = urn("oci:Core/volume:Volume", "data")
ATTACHMENT = urn("oci:Core/volumeAttachment:VolumeAttachment", "attachment")
TREE = urn(state.COMMAND, "platform-tree")
BOOTED = urn(state.COMMAND, "booted")
HISTORY = urn(state.CONSOLE_HISTORY, "console")
CONTAINER = urn(state.CONTAINER, "postgres")
DYNAMIC = urn("pulumi:providers:pulumi-python", "default")
PASSWORDS = urn("pulumi-python:dynamic/host:State", "platform-redis-users")


def resource(name: str, **more: Any) -> dict[str, Any]:
    kind = name.removeprefix(PREFIX).partition("::")[0]
    return {"urn": name, "type": kind, "custom": True, **more}


def document() -> dict[str, Any]:
    resources = [
        resource(STACK, custom=False),
        resource(HOST, custom=False, parent=STACK),
        resource(CLOUD, id="1", parent=HOST),
        resource(VOLUME, id="v", parent=HOST, protect=True),
        resource(INSTANCE, id="i", parent=HOST, protect=True, provider=f"{CLOUD}::1"),
        resource(BOOTED, id="b", parent=HOST, dependencies=[INSTANCE], deletedWith=INSTANCE),
        resource(
            HISTORY,
            id="h",
            parent=HOST,
            dependencies=[INSTANCE, BOOTED],
            propertyDependencies={"instanceId": [INSTANCE], "displayName": [BOOTED]},
            deletedWith=INSTANCE,
        ),
        resource(ATTACHMENT, id="a", parent=BOOTED, dependencies=[INSTANCE, VOLUME], replaceWith=[BOOTED]),
        resource(DOCKER, id="d", parent=HOST, dependencies=[BOOTED], deletedWith=INSTANCE),
        resource(TREE, id="t", parent=HOST, protect=True, deletedWith=INSTANCE, outputs={"stdout": SECRET}),
        resource(
            CONTAINER,
            id="c0ffee",
            parent=HOST,
            provider=f"{DOCKER}::d",
            outputs={"name": "postgres-db"},
            deletedWith=INSTANCE,
        ),
        resource(DYNAMIC, id="p"),
        resource(
            PASSWORDS,
            id="host-state",
            parent=HOST,
            provider=f"{DYNAMIC}::p",
            dependencies=[CONTAINER],
            deletedWith=INSTANCE,
        ),
        resource(CONTAINER, id="old", delete=True, parent=HOST, provider=f"{DOCKER}::d"),
    ]
    pending = [
        {"resource": resource(CONTAINER), "type": "creating"},
        {"resource": resource(VOLUME), "type": "updating"},
    ]
    return {
        "version": 3,
        "deployment": {
            "secrets_providers": {"type": "passphrase"},
            "resources": resources,
            "pending_operations": pending,
        },
    }


def urns(found: State) -> list[str]:
    return [str(r["urn"]) for r in found.resources]


def test_what_was_on_the_machine_goes_and_the_cloud_stays() -> None:
    after = State(document()).without(state.is_on_a_host)
    assert urns(after) == [STACK, HOST, CLOUD, VOLUME, INSTANCE, HISTORY, ATTACHMENT]
    assert after.document["deployment"]["secrets_providers"] == {"type": "passphrase"}


def test_nothing_mentions_what_is_gone() -> None:
    after = State(document()).without(state.is_on_a_host)
    text = after.text()
    for gone in (BOOTED, DOCKER, TREE, CONTAINER, DYNAMIC, PASSWORDS):
        assert gone not in text
    kept = {str(r["urn"]): r for r in after.resources}
    assert kept[HISTORY]["dependencies"] == [INSTANCE]
    assert kept[HISTORY]["propertyDependencies"] == {"instanceId": [INSTANCE], "displayName": []}
    assert kept[HISTORY]["deletedWith"] == INSTANCE
    # Its parent is gone, so that one's parent takes its place.
    assert kept[ATTACHMENT]["parent"] == HOST


def test_pending_operations_of_others_stay() -> None:
    after = State(document()).without(state.is_on_a_host)
    (left,) = after.document["deployment"]["pending_operations"]
    assert left["resource"]["urn"] == VOLUME


def test_edits_leave_the_state_before_as_it_is() -> None:
    before = State(document())
    before.without(state.is_on_a_host).with_protection([INSTANCE], protect=False)
    assert before.document == document()


def test_protection_that_ends_with_the_machine() -> None:
    before = State(document())
    assert before.protected_with(INSTANCE) == [INSTANCE, TREE]
    after = before.with_protection([INSTANCE, TREE], protect=False)
    assert [str(r["urn"]) for r in after.resources if r.get("protect")] == [VOLUME]


def test_containers_are_the_live_ones() -> None:
    assert state.containers(State(document())) == {"postgres-db": "c0ffee"}


@pytest.mark.parametrize(
    ("deployment", "holds"),
    [
        ({"resources": [resource(TREE)]}, True),
        ({"resources": [], "pending_operations": [{"resource": resource(TREE), "type": "creating"}]}, True),
        ({"resources": [resource(BOOTED)]}, False),
        ({}, False),
    ],
)
def test_who_has_made_the_tree(deployment: dict[str, Any], holds: bool) -> None:
    assert State({"deployment": deployment}).holds_tree() is holds


def session(folder: Path, script: str) -> Session:
    program = folder / "pulumi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Session(stack="prod", environment={"PATH": "/usr/bin:/bin"}, executable=str(program))


def test_a_state_goes_in_and_out_by_standard_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.workstation.shell.LOGS", tmp_path / "logs")
    (tmp_path / "state").write_text(json.dumps(document()))
    found = session(
        tmp_path,
        f'[ "$2" = export ] && exec cat {tmp_path}/state; echo "$@" >{tmp_path}/argv; cat >{tmp_path}/taken',
    )
    read = state.read(found)
    state.write(found, read)
    assert json.loads((tmp_path / "taken").read_text()) == document()
    assert (tmp_path / "argv").read_text() == "stack import --non-interactive --stack prod\n"


def test_an_import_that_is_refused_says_that_nothing_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.workstation.shell.LOGS", tmp_path / "logs")
    found = session(tmp_path, "cat >/dev/null; echo 'error: resource refers to unknown parent'; exit 255")
    with pytest.raises(Trouble, match="is as it was: error: resource refers to unknown parent"):
        state.write(found, State(document()))


def test_a_backend_without_a_login_is_one_sentence(tmp_path: Path) -> None:
    found = session(tmp_path, "echo 'error: PULUMI_ACCESS_TOKEN must be set for login' >&2; exit 1")
    with pytest.raises(Trouble, match="pulumi login"):
        state.read(found)
