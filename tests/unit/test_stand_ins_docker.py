"""The decisions of the docker stand-in: what is refused, what updates, what replaces, what it asks of the engine."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental.provider import (
    CheckRequest,
    CheckResponse,
    ConfigureRequest,
    CreateRequest,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    ReadRequest,
    UpdateRequest,
)

from sandbox.providers.stand_ins.docker import durations
from sandbox.providers.stand_ins.docker.engine import Engine, EngineError
from sandbox.providers.stand_ins.docker.kinds import CONTAINER, IMAGE, NETWORK, VOLUME
from sandbox.providers.stand_ins.docker.provider import DockerProvider
from sandbox.providers.stand_ins.errors import InitializationFailedError, ProviderError
from sandbox.providers.stand_ins.inputs import fields_of
from sandbox.providers.stand_ins.values import UNKNOWN, plain_map, property_map

CONTAINER_URN = "urn:pulumi:dev::probe::docker:index/container:Container::web"
NETWORK_URN = "urn:pulumi:dev::probe::docker:index/network:Network::net"
IMAGE_URN = "urn:pulumi:dev::probe::docker:index/remoteImage:RemoteImage::img"

WEB: dict[str, Any] = {
    "name": "web",
    "image": "box@sha256:0",
    "command": ["a", "b"],
    "envs": ["A=1", "B=2"],
    "labels": [{"label": "x", "value": "1"}, {"label": "y", "value": "2"}],
    "ports": [
        {"internal": 2, "external": 20, "ip": "127.0.0.1"},
        {"internal": 1, "external": 10, "ip": "127.0.0.1"},
    ],
    "volumes": [{"hostPath": "/a", "containerPath": "/b"}, {"hostPath": "/c", "containerPath": "/d"}],
    "healthcheck": {"tests": ["CMD", "true"], "interval": "30s"},
    "memory": 64,
    "logOpts": {"max-size": "10m"},
}


def check(
    inputs: dict[str, Any], urn: str = CONTAINER_URN, old: dict[str, Any] | None = None
) -> CheckResponse:
    request = CheckRequest(urn, property_map(old or {}), property_map(inputs), b"seed")
    return asyncio.run(DockerProvider().check(request))


def reasons(inputs: dict[str, Any], urn: str = CONTAINER_URN) -> list[str]:
    return [failure.reason for failure in check(inputs, urn).failures or []]


def diff(old: dict[str, Any], new: dict[str, Any], urn: str = CONTAINER_URN) -> DiffResponse:
    """Old inputs as they would stand in the state, against new ones."""
    old_state, new_inputs = (check(inputs, urn).inputs or {} for inputs in (old, new))
    return asyncio.run(DockerProvider().diff(DiffRequest(urn, "id", old_state, new_inputs, [])))


@pytest.mark.parametrize("kind", [CONTAINER, IMAGE, NETWORK, VOLUME], ids=lambda kind: kind.arguments)
def test_every_name_that_is_written_down_is_in_the_schema_of_the_sdk(kind: Any) -> None:
    known = fields_of(kind.argument_class).keys()
    assert kind.defaults.keys() | kind.nested_defaults.keys() <= known
    assert kind.chosen | (kind.in_place or set()) | kind.refused | kind.blank_keeps <= known
    assert not kind.outputs & known


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"portz": []}, "web.portz"),
        ({"ports": [{"internal": 1, "externl": 2}]}, "web.ports[0].externl"),
        ({"healthcheck": {"tests": ["CMD"], "intervall": "1s"}}, "web.healthcheck.intervall"),
        (
            {"mounts": [{"type": "volume", "target": "/x", "volumeOptions": {"labels": [{"name": "a"}]}}]},
            "web.mounts[0].volumeOptions.labels[0].name",
        ),
        ({"memory": "64"}, "web.memory"),
        ({"memory": 1.5}, "web.memory"),
        ({"mustRun": "yes"}, "web.mustRun"),
        ({"command": "sh"}, "web.command"),
        ({"command": ["sh", 1]}, "web.command[1]"),
        ({"logOpts": {"max-file": 3}}, 'web.logOpts["max-file"]'),
        ({"labels": {"a": "b"}}, "web.labels"),
        ({"labels": [{"label": "a"}]}, "web.labels[0].value"),
        ({"ports": [{"external": 1}]}, "web.ports[0].internal"),
        ({"restart": "sometimes"}, "web.restart"),
        ({"healthcheck": {"tests": ["CMD"], "interval": "1 minute"}}, "web.healthcheck.interval"),
        ({"volumes": [{"hostPath": "relative", "containerPath": "/x"}]}, "web.volumes[0].hostPath"),
        ({"memorySwap": -2}, "web.memorySwap"),
    ],
)
def test_an_input_that_the_schema_does_not_have_is_refused_by_its_place(
    change: dict[str, Any], place: str
) -> None:
    found = reasons(WEB | change)
    assert any(f"'{place}'" in reason for reason in found), found


def test_a_refusal_never_shows_the_value() -> None:
    assert not any("canary" in reason for reason in reasons(WEB | {"memory": "canary", "restart": "canary"}))


def test_missing_and_unsupported_inputs_are_named() -> None:
    assert any('"image" is required' in reason for reason in reasons({"name": "web"}))
    assert any("'gpus'" in reason for reason in reasons(WEB | {"gpus": "all"}))
    assert any("'build'" in reason for reason in reasons({"name": "x", "build": {"context": "."}}, IMAGE_URN))


def test_unknown_values_pass_the_check_anywhere() -> None:
    assert reasons(WEB | {"image": UNKNOWN, "memory": UNKNOWN, "ports": [{"internal": UNKNOWN}]}) == []


def test_defaults_are_filled_in_and_listed() -> None:
    inputs = check(WEB).inputs or {}
    filled = plain_map(inputs)
    assert (filled["mustRun"], filled["restart"], filled["waitTimeout"]) == (True, "no", 60)
    assert filled["ports"][0]["protocol"] == "tcp"
    assert "mustRun" in [item.value for item in inputs["__defaults"].value]  # pyright: ignore


def test_a_name_is_made_once_and_kept() -> None:
    first = check({}, NETWORK_URN).inputs or {}
    name = plain_map(first)["name"]
    assert name.startswith("net-")
    assert len(name) == len("net-") + 7
    request = CheckRequest(NETWORK_URN, first, {}, b"another seed")
    second = asyncio.run(DockerProvider().check(request)).inputs or {}
    assert plain_map(second)["name"] == name


REPLACES: dict[str, Any] = {
    "name": "other",
    "image": "box@sha256:1",
    "command": ["b", "a"],
    "envs": ["A=1"],
    "labels": [{"label": "x", "value": "2"}, {"label": "y", "value": "2"}],
    "ports": [{"internal": 2, "external": 21, "ip": "127.0.0.1"}],
    "volumes": [{"hostPath": "/a", "containerPath": "/b", "readOnly": True}],
    "logOpts": {"max-size": "20m"},
    "user": "1:1",
    "shmSize": 16,
    "stopTimeout": 3,
    "networksAdvanced": [{"name": "n"}],
    "capabilities": {"drops": ["CAP_MKNOD"]},
    "sysctls": {"a": "b"},
    "uploads": [{"file": "/x", "content": "y"}],
    "ulimits": [{"name": "nofile", "soft": 1, "hard": 2}],
}


@pytest.mark.parametrize("name", REPLACES)
def test_a_changed_input_replaces(name: str) -> None:
    found = diff(WEB, WEB | {name: REPLACES[name]})
    assert (found.changes, found.replaces, found.delete_before_replace) == (True, [name], True)
    assert all(change.kind.name.endswith("_REPLACE") for change in found.detailed_diff.values())


UPDATES: dict[str, Any] = {
    "memory": 128,
    "memorySwap": 128,
    "restart": "always",
    "healthcheck": {"tests": ["CMD", "true"], "interval": "1m0s"},
    "destroyGraceSeconds": 5,
    "mustRun": False,
    "wait": True,
    "cpuShares": 2,
    "tmpfs": {"/run": ""},
    "removeVolumes": False,
}


@pytest.mark.parametrize("name", UPDATES)
def test_a_changed_input_updates_in_place(name: str) -> None:
    found = diff(WEB, WEB | {name: UPDATES[name]})
    assert (found.changes, found.replaces, found.diffs) == (True, [], [name])


@pytest.mark.parametrize("name", ["envs", "labels", "ports", "volumes"])
def test_the_order_of_a_set_means_nothing(name: str) -> None:
    assert not diff(WEB, WEB | {name: list(reversed(WEB[name]))}).changes


def test_the_diff_names_the_place() -> None:
    longer = [*WEB["labels"], {"label": "z", "value": "3"}]
    assert set(diff(WEB, WEB | {"labels": longer}).detailed_diff) == {"labels[2]"}
    shorter = WEB["labels"][1:]
    assert set(diff(WEB, WEB | {"labels": shorter}).detailed_diff) == {"labels[0]"}
    assert set(diff(WEB, WEB | {"logOpts": {"max-size": "1m"}}).detailed_diff) == {'logOpts["max-size"]'}
    changed = {"tests": ["CMD", "false"], "interval": "30s"}
    assert set(diff(WEB, WEB | {"healthcheck": changed}).detailed_diff) == {"healthcheck.tests[1]"}


def test_what_the_engine_chose_is_no_difference() -> None:
    chosen = {
        "hostname": "abc",
        "init": True,
        "logDriver": "json-file",
        "runtime": "runc",
        "dns": [],
        "cpuShares": 0,
    }
    old = (check(WEB).inputs or {}) | property_map(chosen)
    request = DiffRequest(CONTAINER_URN, "id", old, check(WEB).inputs or {}, [])
    assert not asyncio.run(DockerProvider().diff(request)).changes


def test_an_unknown_image_replaces_the_container() -> None:
    assert diff(WEB, WEB | {"image": UNKNOWN}).replaces == ["image"]


def test_network_and_image() -> None:
    network = {"name": "n", "ipamConfigs": [{"subnet": "172.28.0.0/24"}]}
    changed = diff(network, network | {"ipamConfigs": [{"subnet": "172.29.0.0/24"}]}, NETWORK_URN)
    assert changed.replaces == ["ipamConfigs"]
    assert changed.delete_before_replace  # the name is the program's own
    renamed = diff(network, network | {"name": "m"}, NETWORK_URN)
    assert not renamed.delete_before_replace
    image = {"name": "box@sha256:0", "keepLocally": True}
    assert diff(image, image | {"keepLocally": False}, IMAGE_URN).replaces == []
    assert diff(image, image | {"name": "box@sha256:1"}, IMAGE_URN).replaces == ["name"]


def test_a_preview_of_a_create_asks_nothing_and_knows_what_it_does_not_know() -> None:
    request = CreateRequest(CONTAINER_URN, check(WEB).inputs or {}, 0, preview=True)
    outputs = plain_map(asyncio.run(DockerProvider().create(request)).properties)
    assert outputs["name"] == "web"
    assert outputs["networkDatas"] == outputs["hostname"] == UNKNOWN


class FakeEngine:
    """Answers like a Docker engine and keeps what it was asked."""

    def __init__(self, running: bool = True, failing: str = "") -> None:
        self.asked: list[tuple[str, Any, dict[str, Any]]] = []
        self.running = running
        self.failing = failing

    def get(self, path: str, **query: Any) -> Any:
        self._note("GET " + path, None, query)
        if path.startswith("/images/"):
            return {"Id": "sha256:aa", "RepoDigests": ["box@sha256:0"]}
        return INSPECTED | {"State": {"Running": self.running, "ExitCode": 3, "Health": None}}

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        self._note("POST " + path, body, query)
        return {"Id": "c1"}

    def delete(self, path: str, **query: Any) -> None:
        self._note("DELETE " + path, None, query)

    def _note(self, what: str, body: Any, query: dict[str, Any]) -> None:
        self.asked.append((what, body, query))
        if self.failing and self.failing in what:
            raise EngineError(500, "as the test wants it")


INSPECTED: dict[str, Any] = {
    "Name": "/web",
    "Image": "sha256:aa",
    "Config": {
        "Image": "box@sha256:0",
        "Hostname": "c1",
        "Domainname": "",
        "Cmd": ["a", "b"],
        "User": "",
        "WorkingDir": "",
        "Tty": False,
        "OpenStdin": False,
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30 * 10**9},
    },
    "HostConfig": {
        "AutoRemove": False,
        "ReadonlyRootfs": False,
        "PublishAllPorts": False,
        "Privileged": False,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}},
        "NetworkMode": "bridge",
        "Memory": 64 * 1024 * 1024,
        "MemoryReservation": 0,
        "MemorySwap": -1,
        "ShmSize": 0,
        "CpuShares": 0,
        "CpusetCpus": "",
    },
    "NetworkSettings": {
        "Ports": {
            "1/tcp": [{"HostIp": "127.0.0.1", "HostPort": "10"}],
            "2/tcp": [{"HostIp": "127.0.0.1", "HostPort": "20"}],
        }
    },
}


def provider_with(engine: FakeEngine) -> DockerProvider:
    provider = DockerProvider()
    provider._engine = engine  # pyright: ignore
    return provider


def create(engine: FakeEngine, inputs: dict[str, Any]) -> dict[str, Any]:
    request = CreateRequest(CONTAINER_URN, check(inputs).inputs or {}, 0, preview=False)
    return plain_map(asyncio.run(provider_with(engine).create(request)).properties)


def test_create_connects_starts_and_reads_back() -> None:
    engine = FakeEngine()
    state = create(engine, WEB | {"networksAdvanced": [{"name": "n", "aliases": ["db"]}]})
    assert [what for what, _, _ in engine.asked] == [
        "GET /images/box@sha256:0/json",
        "POST /containers/create",
        "POST /networks/bridge/disconnect",
        "POST /networks/n/connect",
        "POST /containers/c1/start",
        "GET /containers/c1/json",
    ]
    body = engine.asked[1][1]
    assert body["HostConfig"]["Binds"] == ["/a:/b:rw", "/c:/d:rw"]
    assert body["HostConfig"]["Memory"] == 64 * 1024 * 1024
    assert body["Healthcheck"]["Interval"] == 30 * 10**9
    assert [port["internal"] for port in state["ports"]] == [2, 1]  # in the program's order
    assert (state["labels"], state["envs"]) == (WEB["labels"], WEB["envs"])  # never read back


def test_what_fails_after_the_creation_leaves_an_incomplete_resource() -> None:
    with pytest.raises(
        InitializationFailedError, match="Unable to start container: Error response from daemon"
    ) as failed:
        create(FakeEngine(failing="/start"), WEB)
    assert failed.value.resource_id == "c1"
    with pytest.raises(InitializationFailedError, match="does not have a healthcheck defined"):
        create(FakeEngine(), WEB | {"wait": True})


def test_a_failed_creation_leaves_nothing() -> None:
    with pytest.raises(ProviderError, match="Unable to create container") as failed:
        create(FakeEngine(failing="/containers/create"), WEB)
    assert not isinstance(failed.value, InitializationFailedError)


def test_a_stopped_container_shows_as_drift_that_starts_it_again() -> None:
    inputs = check(WEB).inputs or {}
    request = ReadRequest(CONTAINER_URN, "c1", inputs, inputs)
    read = asyncio.run(provider_with(FakeEngine(running=False)).read(request))
    state = plain_map(read.properties)
    assert (state["mustRun"], state["exitCode"]) == (False, 3)
    engine = FakeEngine()
    update = UpdateRequest(CONTAINER_URN, "c1", read.properties, inputs, 0, [], preview=False)
    asyncio.run(provider_with(engine).update(update))
    assert engine.asked[0][0] == "POST /containers/c1/start"


@pytest.mark.parametrize(("name", "asked"), [("memory", 1), ("healthcheck", 0), ("destroyGraceSeconds", 0)])
def test_only_limits_reach_the_engine_in_an_update(name: str, asked: int) -> None:
    engine = FakeEngine()
    old, new = (check(WEB | change).inputs or {} for change in ({}, {name: UPDATES[name]}))
    request = UpdateRequest(CONTAINER_URN, "c1", old, new, 0, [], preview=False)
    state = plain_map(asyncio.run(provider_with(engine).update(request)).properties)
    assert len(engine.asked) == asked
    assert plain_map({name: property_map(state)[name]}) == plain_map({name: new[name]})


@pytest.mark.parametrize(("grace", "seconds"), [({"destroyGraceSeconds": 20}, 20), ({}, 0)])
def test_delete_stops_within_the_grace_period_then_removes(grace: dict[str, int], seconds: int) -> None:
    engine = FakeEngine()
    request = DeleteRequest(CONTAINER_URN, "c1", check(WEB | grace).inputs or {}, 0)
    asyncio.run(provider_with(engine).delete(request))
    assert engine.asked[0] == ("POST /containers/c1/stop", None, {"t": seconds})
    assert engine.asked[1] == ("DELETE /containers/c1", None, {"v": "1", "link": "", "force": "1"})


def test_a_container_that_is_gone_already_fails_at_the_stop_as_in_the_provider() -> None:
    request = DeleteRequest(CONTAINER_URN, "c1", check(WEB).inputs or {}, 0)
    with pytest.raises(ProviderError, match="Error stopping container c1"):
        asyncio.run(provider_with(FakeEngine(failing="/stop")).delete(request))


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0s", 0),
        ("30s", 30 * 10**9),
        ("1m0s", 60 * 10**9),
        ("1h0m0s", 3600 * 10**9),
        ("1.5s", 1500000000),
        ("500ms", 5 * 10**8),
    ],
)
def test_durations_read_and_write_like_go(text: str, nanoseconds: int) -> None:
    assert durations.parse(text) == nanoseconds
    assert durations.text_of(nanoseconds) == text


def test_a_preview_with_an_address_that_nobody_knows_yet_connects_nowhere() -> None:
    settings = property_map({"host": UNKNOWN, "sshOpts": '["-o", "BatchMode=yes"]'})
    provider = DockerProvider()
    checked = asyncio.run(provider.check_config(CheckRequest("urn", {}, settings, b"")))
    assert not checked.failures
    asyncio.run(provider.configure(ConfigureRequest({}, settings, True, True)))
    inputs = check({"name": "n"}, NETWORK_URN).inputs or {}
    asked = asyncio.run(provider.create(CreateRequest(NETWORK_URN, inputs, 0, preview=True)))
    assert plain_map(asked.properties)["scope"] == UNKNOWN


def test_ssh_gets_the_options_word_by_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.words"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    options = ["-o", "KnownHostsCommand=/bin/echo %H ssh-ed25519 AAAA", "-i", "/a key"]
    with pytest.raises(ProviderError, match="Error pinging Docker server"):
        Engine("ssh://opc@198.51.100.10", options)
    assert (tmp_path / "ssh.words").read_text().splitlines() == [
        *options,
        *("-l", "opc", "--", "198.51.100.10", "docker", "system", "dial-stdio"),
    ]
