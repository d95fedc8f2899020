"""The files of stacks that are made here, choices, locks and pulumi's environment."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts.workstation import atomic, choices, locks, plugins, session
from scripts.workstation.images import advice_for, nobody_answered, references
from scripts.workstation.stack import OWN, OwnStack
from scripts.workstation.toolchain import Toolchain
from scripts.workstation.trouble import Trouble

TOOLS = Toolchain(folder=Path("/cache/a b"), version="v3.259.0", source="built")


def own_stack(folder: Path, name: str = "local") -> OwnStack:
    """A stack whose every piece is below a folder of the test's."""
    committed = folder / f"committed-{name}.yaml"
    committed.write_text(
        "config:\n  central-data-platform:host: {kind: local}\n  central-data-platform:srvRoot: /own\n"
    )
    return OwnStack(
        name=name,
        folder=folder / name,
        backend=folder / "backend",
        home=folder / "home",
        choices=choices.Choices(folder / "choices.json"),
        lock=folder / "lock",
        committed=committed,
    )


@pytest.fixture
def local(tmp_path: Path) -> OwnStack:
    return own_stack(tmp_path)


def test_the_first_run_makes_private_files(local: OwnStack) -> None:
    assert not local.exists()
    local.make_folders()
    assert local.exists()
    assert local.config.settings() == {"host": {"kind": "local"}, "srvRoot": "/own"}
    for path in (local.passphrase, local.config.path):
        assert path.stat().st_mode & 0o777 == 0o600
    assert local.folder.stat().st_mode & 0o777 == 0o700


def test_the_second_run_changes_nothing(local: OwnStack) -> None:
    local.make_folders()
    before = (local.passphrase.read_text(), local.config.path.stat().st_mtime_ns)
    local.make_folders()
    local.config.change_settings({"srvRoot": "/own"})
    assert (local.passphrase.read_text(), local.config.path.stat().st_mtime_ns) == before


def test_settings_are_changed_without_touching_secrets(local: OwnStack) -> None:
    local.make_folders()
    config = local.config
    document = yaml.safe_load(config.path.read_text())
    document["config"]["central-data-platform:saltKey"] = {"secure": "v1:abc"}
    document["encryptionsalt"] = "v1:salt"
    config.path.write_text(yaml.safe_dump(document))
    config.change_settings({"imageCatalogue": ".state/images.json"})
    after = yaml.safe_load(config.path.read_text())
    assert after["encryptionsalt"] == "v1:salt"
    assert config.has_secret("saltKey")
    assert not config.has_secret("postgresPassword")
    assert "saltKey" not in config.settings()
    assert config.settings()["imageCatalogue"] == ".state/images.json"


def test_a_broken_configuration_is_named(local: OwnStack) -> None:
    local.make_folders()
    local.config.path.write_text("config: [\n")
    with pytest.raises(Trouble, match=r"Pulumi\.local\.yaml is not YAML"):
        local.config.settings()


def test_a_lost_passphrase_is_not_made_anew(local: OwnStack) -> None:
    local.make_folders()
    local.config.write({**local.config.load(), "encryptionsalt": "v1:salt"})
    stacks = local.backend / ".pulumi/stacks/central-data-platform"
    stacks.mkdir(parents=True)
    (stacks / "local.json").touch()
    local.passphrase.unlink()
    with pytest.raises(Trouble, match="put it back"):
        local.make_folders()
    assert not local.passphrase.exists()


def test_the_stacks_that_are_made_here_share_no_piece() -> None:
    pieces = [(s.folder, s.backend, s.home, s.choices.file, s.lock, s.committed) for s in OWN.values()]
    flat = [piece for group in pieces for piece in group]
    assert len(set(flat)) == len(flat)
    assert all(stack.committed.exists() for stack in OWN.values())


def test_atomic_files_leave_nothing_behind(tmp_path: Path) -> None:
    atomic.write(tmp_path / "file", "one", 0o600)
    atomic.write(tmp_path / "file", "two", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "two"


def test_choices_are_kept(tmp_path: Path) -> None:
    mine = choices.Choices(tmp_path / "choices.json")
    assert mine.recorded("plugins") is None
    mine.record("plugins", "stand-ins")
    mine.record("images", "published")
    assert mine.recorded("plugins") == "stand-ins"
    assert mine.recorded("images") == "published"
    mine.forget()
    assert mine.recorded("images") is None


def test_a_choice_nobody_made_is_named(tmp_path: Path) -> None:
    mine = choices.Choices(tmp_path / "choices.json")
    mine.file.write_text('{"plugins": "both"}')
    with pytest.raises(Trouble, match="'both'"):
        mine.recorded("plugins")


def test_the_environment_of_the_local_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "hunter2")
    monkeypatch.setenv("PULUMI_STACK", "prod")
    found = session.own_session(
        "local",
        TOOLS,
        backend=Path("/a b/backend"),
        passphrase=Path("/a b/passphrase"),
        config_file=Path("/a b/Pulumi.local.yaml"),
        docker_host="unix:///run/d.sock",
        home=None,
    )
    assert found.environment["PULUMI_BACKEND_URL"] == "file:///a%20b/backend"
    assert found.environment["PATH"].split(os.pathsep)[:2] == [str(session.VENV / "bin"), "/cache/a b"]
    assert not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_STACK"} & found.environment.keys()
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in found.environment
    assert "hunter2" not in repr(found)
    assert found.words("refresh", config=True) == [
        *("/cache/a b/pulumi", "refresh", "--stack", "local", "--config-file", "/a b/Pulumi.local.yaml")
    ]


def test_stand_ins_get_a_home_of_their_own() -> None:
    home = Path("/state/pulumi-home")
    found = session.own_session(
        "local", TOOLS, backend=home, passphrase=home, config_file=home, docker_host="", home=home
    )
    assert found.environment["PULUMI_HOME"] == str(home)
    assert found.environment["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"


def test_another_stack_keeps_the_users_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://mine")
    found = session.remote_session("prod", TOOLS)
    assert found.environment["PULUMI_BACKEND_URL"] == "s3://mine"
    assert found.words("refresh", config=True) == ["/cache/a b/pulumi", "refresh", "--stack", "prod"]


def test_plugin_versions_are_those_of_the_packages(tmp_path: Path) -> None:
    assert plugins.NEEDED == ("docker", "command")
    assert plugins.version_of("docker").count(".") == 2
    folder = tmp_path / "plugins" / "resource-docker-v5.2.0"
    folder.mkdir(parents=True)
    assert not plugins.installed(tmp_path, "docker", "5.2.0")
    (folder / "pulumi-resource-docker").touch()
    assert plugins.installed(tmp_path, "docker", "5.2.0")
    folder.with_name("resource-docker-v5.2.0.partial").touch()
    assert not plugins.installed(tmp_path, "docker", "5.2.0")


@pytest.mark.parametrize(
    "message",
    [
        "dial tcp: lookup registry.example on 10.0.0.1:53: no such host",
        "dial tcp 127.0.0.1:443: connect: connection refused",
        "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
        "dial tcp 192.0.2.1:443: i/o timeout",
    ],
)
def test_silence_is_no_answer(message: str) -> None:
    assert nobody_answered(message)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("manifest unknown: manifest unknown", "update images.json"),
        ("pull access denied for x, repository does not exist", "docker login"),
        ("toomanyrequests: You have reached your pull rate limit", "docker login"),
        ("write /var/lib/docker/tmp: no space left on device", "disk is full"),
    ],
)
def test_an_answer_is_no_reason_for_stand_ins(message: str, advice: str) -> None:
    assert not nobody_answered(message)
    assert advice in advice_for(message)


def test_references_by_architecture() -> None:
    catalogue = {"redis": {"repository": "redis", "manifests": {"amd64": "sha256:aa"}}}
    assert references(catalogue, "amd64") == {"redis": "redis@sha256:aa"}
    with pytest.raises(Trouble, match="no redis image for arm64"):
        references(catalogue, "arm64")


def write_lock(backend: Path, **content: object) -> None:
    folder = backend / ".pulumi" / "locks" / "organization" / "p" / "s"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.json").write_text(json.dumps(content))


def test_a_lock_of_a_dead_process_is_stale(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    write_lock(tmp_path, pid=ended.pid, hostname=socket.gethostname(), timestamp="2026-11-24T10:17:43.96Z")
    (lock,) = locks.read_locks(tmp_path, "p", "s")
    assert lock.since == "2026-11-24T10:17:43"
    assert not locks.alive(lock)


def test_a_number_given_to_another_program_is_stale(tmp_path: Path) -> None:
    write_lock(tmp_path, pid=os.getppid(), hostname=socket.gethostname(), timestamp="t")
    assert not locks.alive(locks.read_locks(tmp_path, "p", "s")[0])


def test_another_hosts_lock_is_respected(tmp_path: Path) -> None:
    write_lock(tmp_path, pid=1, hostname="elsewhere", timestamp="t")
    assert locks.alive(locks.read_locks(tmp_path, "p", "s")[0])


def test_a_lock_that_cannot_be_read_is_stale(tmp_path: Path) -> None:
    write_lock(tmp_path, nothing="useful")
    assert not locks.alive(locks.read_locks(tmp_path, "p", "s")[0])


def test_two_commands_at_once(tmp_path: Path) -> None:
    holder = rf"make up \(pid {os.getpid()}\)"
    with (
        locks.exclusive(tmp_path / "lock", "up", "local"),
        pytest.raises(Trouble, match=holder),
        locks.exclusive(tmp_path / "lock", "down", "local"),
    ):
        pass
    with locks.exclusive(tmp_path / "lock", "down", "local"):
        pass
