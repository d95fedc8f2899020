"""The three containers, and the hook that makes room for one."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pulumi
import pytest
import yaml

from components.host_settings import LocalHostSettings
from components.hosts import open_host
from components.render.service import compose_service, service_text
from components.render.services import START_HASH_LABEL, pgbouncer_service, postgres_service, redis_service
from components.settings import Settings
from components.stray import stray_hook
from tests.unit.conftest import run_program
from tests.unit.recording_engine import Engine, Recording, Registration, image_id

NAMES = {"postgres-db": "postgres", "redis-cache": "redis", "pgbouncer": "pgbouncer"}
SETTINGS = Settings(host=LocalHostSettings(kind="local"))
SERVICES = {
    s.name: s for s in (postgres_service(SETTINGS), redis_service(SETTINGS), pgbouncer_service(SETTINGS))
}


@dataclass(frozen=True)
class Made:
    """A container of the local stack, with its labels as a dictionary."""

    registration: Registration

    @property
    def inputs(self) -> dict[str, Any]:
        return self.registration.inputs

    @property
    def labels(self) -> dict[str, str]:
        return {label["label"]: label["value"] for label in self.inputs["labels"]}


def container(run: Recording, name: str) -> Made:
    return Made(run[f"platform-{NAMES[name]}-container"])


@pytest.fixture(params=sorted(NAMES))
def made(request: pytest.FixtureRequest, local: Recording) -> Made:
    """Each of the three containers."""
    return container(local, request.param)


# --- how it is replaced and stopped ---


def test_the_old_one_goes_before_the_new_one_comes(made: Made) -> None:
    assert made.registration.request.deleteBeforeReplace is True
    assert made.registration.request.deleteBeforeReplaceDefined is True


def test_a_changed_health_check_replaces_it(made: Made) -> None:
    assert list(made.registration.request.replaceOnChanges) == ["healthcheck"]


@pytest.mark.parametrize(
    ("name", "signal", "seconds"),
    [("postgres-db", "SIGINT", 120), ("redis-cache", "SIGTERM", 60), ("pgbouncer", "SIGINT", 30)],
)
def test_it_has_time_to_finish(local: Recording, name: str, signal: str, seconds: int) -> None:
    inputs = container(local, name).inputs
    assert inputs["stopSignal"] == signal
    assert inputs["stopTimeout"] == seconds
    assert inputs["destroyGraceSeconds"] == seconds


def test_it_is_done_when_it_is_healthy(made: Made) -> None:
    assert made.inputs["wait"] is True
    assert made.inputs["waitTimeout"] >= 300
    assert made.inputs["healthcheck"]["tests"][0] in ("CMD", "CMD-SHELL")
    assert made.inputs["restart"] == "unless-stopped"


# --- what it may do ---


def test_it_has_no_more_rights_than_it_needs(local: Recording) -> None:
    rights = {name: container(local, name).inputs["capabilities"] for name in NAMES}
    needed = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID"]
    assert rights == {
        "postgres-db": {"drops": ["ALL"], "adds": needed},
        "redis-cache": {"drops": ["ALL"]},
        "pgbouncer": {"drops": ["ALL"]},
    }


def test_it_gains_no_rights(made: Made) -> None:
    # The two that meet at a socket are confined alike.
    alike = [] if made.inputs["name"] == "redis-cache" else ["label=level:s0:c271,c828"]
    assert made.inputs["securityOpts"] == ["no-new-privileges:true", *alike]
    assert not made.inputs.get("privileged")


def test_it_runs_as_its_own_user(local: Recording) -> None:
    users = {name: container(local, name).inputs.get("user") for name in NAMES}
    # PostgreSQL's entry point starts as root and steps down by itself.
    assert users == {"postgres-db": None, "redis-cache": "999:999", "pgbouncer": "1001:1001"}


def test_redis_is_started_by_the_name_at_which_its_entry_point_steps_down(local: Recording) -> None:
    assert container(local, "redis-cache").inputs["command"][0] == "redis-server"


def test_pgbouncer_is_started_past_the_entry_point_that_rewrites_its_files(local: Recording) -> None:
    inputs = container(local, "pgbouncer").inputs
    assert inputs["entrypoints"] == ["/usr/bin/pgbouncer"]
    assert inputs["command"] == ["/etc/pgbouncer/pgbouncer.ini"]


def test_it_mounts_folders_and_keeps_its_configuration_read_only(made: Made) -> None:
    for mount in made.inputs["volumes"]:
        assert mount["hostPath"].startswith(("/srv/config/", "/srv/data/", "/srv/run/"))
        another_s = (made.inputs["name"], mount["hostPath"]) == ("pgbouncer", "/srv/run/postgresql")
        assert mount["readOnly"] is (mount["hostPath"].startswith("/srv/config/") or another_s)
        assert "." not in mount["hostPath"]


def test_postgres_has_enough_shared_memory(local: Recording) -> None:
    assert container(local, "postgres-db").inputs["shmSize"] == 384


def test_its_log_is_rotated(made: Made) -> None:
    assert made.inputs["logDriver"] == "json-file"
    assert made.inputs["logOpts"] == {"max-file": "5", "max-size": "10m"}


def test_it_is_on_the_platforms_network_under_its_own_name(made: Made) -> None:
    (network,) = made.inputs["networksAdvanced"]
    addresses = {"pgbouncer": "172.28.0.254", "postgres-db": "172.28.0.253", "redis-cache": "172.28.0.252"}
    assert network == {
        "name": "central-data-platform",
        "aliases": [made.inputs["name"]],
        "ipv4Address": addresses.get(made.inputs["name"]),
    }


# --- what compose sees ---


@pytest.mark.parametrize("name", sorted(NAMES))
def test_compose_takes_it_for_its_own(local: Recording, name: str) -> None:
    made = container(local, name)
    labels = {key: value for key, value in made.labels.items() if key.startswith("com.docker.compose.")}
    assert labels == {
        "com.docker.compose.project": "postgres-stack",
        "com.docker.compose.project.config_files": "/srv/apps/postgres-stack/docker-compose.yml",
        "com.docker.compose.project.environment_file": "/srv/config/platform.env",
        "com.docker.compose.project.working_dir": "/srv/apps/postgres-stack",
        "com.docker.compose.service": name,
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.image": image_id(made.inputs["image"]),
        "com.docker.compose.config-hash": f"stdout of platform-{NAMES[name]}-hash",
    }


def test_compose_takes_the_network_for_its_own(local: Recording) -> None:
    (network,) = local.of_type("docker:index/network:Network")
    assert {label["label"]: label["value"] for label in network.inputs["labels"]} == {
        "com.docker.compose.project": "postgres-stack",
        "com.docker.compose.network": "central-data-platform",
    }
    assert network.inputs["ipamConfigs"] == [
        {"subnet": "172.28.0.0/24", "gateway": "172.28.0.1", "ipRange": "172.28.0.0/25"}
    ]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_hash_comes_from_the_text_of_this_service_alone(local: Recording, name: str) -> None:
    command = local[f"platform-{NAMES[name]}-hash"].inputs
    image = container(local, name).inputs["image"]
    assert command["stdin"] == service_text(SERVICES[name], image)
    assert command["create"].endswith(f" compose-hash.sh {name}")
    assert "triggers" not in command


def test_the_compose_file_describes_the_same_container(made: Made) -> None:
    inputs, name = made.inputs, made.inputs["name"]
    text = compose_service(SERVICES[name], inputs["image"])
    (port,), (network,) = inputs["ports"], inputs["networksAdvanced"]
    assert text["image"] == inputs["image"]
    assert text["container_name"] == name
    assert text["command"] == inputs["command"]
    assert text.get("entrypoint") == inputs.get("entrypoints")
    assert text.get("user") == inputs.get("user")
    assert text["restart"] == inputs["restart"]
    assert text["mem_limit"] == f"{inputs['memory']:.0f}m"
    assert text.get("shm_size") == (f"{inputs['shmSize']:.0f}m" if "shmSize" in inputs else None)
    assert text["stop_signal"] == inputs["stopSignal"]
    assert text["stop_grace_period"] == f"{inputs['stopTimeout']:.0f}s"
    assert text["cap_drop"] == inputs["capabilities"]["drops"]
    assert text.get("cap_add") == inputs["capabilities"].get("adds")
    assert text["security_opt"] == inputs["securityOpts"]
    assert text["logging"] == {"driver": inputs["logDriver"], "options": inputs["logOpts"]}
    address = network["ipv4Address"]
    assert text["networks"] == (
        {network["name"]: {"ipv4_address": address}} if address else [network["name"]]
    )
    assert [(p["host_ip"], int(p["published"]), p["target"]) for p in text["ports"]] == [
        (port["ip"], port["external"], port["internal"])
    ]
    assert [(v["source"], v["target"], v["read_only"]) for v in text["volumes"]] == [
        (v["hostPath"], v["containerPath"], v["readOnly"]) for v in inputs["volumes"]
    ]
    health = inputs["healthcheck"]
    assert text["healthcheck"] == {
        "test": health["tests"],
        "interval": health["interval"],
        "timeout": health["timeout"],
        "start_period": health["startPeriod"],
        "retries": health["retries"],
    }
    assert text.get("labels", {}).items() <= made.labels.items()


def test_the_compose_file_asks_for_no_variable(local: Recording) -> None:
    text = local.files["/srv/apps/postgres-stack/docker-compose.yml"].text.replace("$$", "")
    assert "$" not in text
    # One is set, which says where the data are.
    set_there = [s["environment"] for s in yaml.safe_load(text)["services"].values() if "environment" in s]
    assert set_there == [{"PGDATA": "/var/lib/postgresql/data"}]


# --- the label that makes it follow its configuration ---


def label_with(**plain: Any) -> dict[str, str]:
    run = run_program(plain=plain)
    return {name: container(run, name).labels.get(START_HASH_LABEL, "") for name in NAMES}


@pytest.fixture(scope="module")
def label(local: Recording) -> dict[str, str]:
    """Each container's label as the defaults give it."""
    return {name: container(local, name).labels.get(START_HASH_LABEL, "") for name in NAMES}


@pytest.mark.parametrize("plain", [{"maxConnections": 150}, {"memory": 2048}])
def test_what_is_read_at_the_start_changes_the_label(label: dict[str, str], plain: dict[str, int]) -> None:
    changed = label_with(postgres=plain)
    assert changed["postgres-db"] != label["postgres-db"]
    assert changed["redis-cache"] == label["redis-cache"]


@pytest.mark.parametrize(
    "plain", [{"statementTimeoutSeconds": 10}, {"slowQueryMilliseconds": 5}, {"timezone": "Europe/Berlin"}]
)
def test_what_a_reload_takes_does_not(label: dict[str, str], plain: dict[str, Any]) -> None:
    assert label_with(postgres=plain) == label


def test_redis_only_reads_its_file_at_the_start(label: dict[str, str]) -> None:
    changed = label_with(redis={"maxmemoryPolicy": "allkeys-lru"})
    assert changed["redis-cache"] != label["redis-cache"]
    assert changed["postgres-db"] == label["postgres-db"]


def test_pgbouncer_reloads_what_it_can(label: dict[str, str]) -> None:
    assert label_with(pgbouncer={"poolSize": 7, "parameters": {"server_idle_timeout": 60}}) == label
    changed = label_with(pgbouncer={"parameters": {"pkt_buf": 8192}})
    assert {name for name in label if label[name] != changed[name]} == {"pgbouncer"}


# --- the hook ---


def test_it_makes_room_for_itself(made: Made) -> None:
    hooks = made.registration.request.hooks
    assert len(hooks.before_create) == 1
    assert not [*hooks.before_update, *hooks.before_delete, *hooks.after_create]


FAKE_DOCKER = """\
#!/bin/sh
echo "$DOCKER_HOST $*" >>"$0.log"
env >>"$0.environment"
case "$*" in
  *working_dir*) cat "$0.working_dir" ;;
  *inspect*) echo postgres-stack ;;
esac
"""


@pytest.fixture
def run_hook(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[BaseException | None, list[str]]]:
    """Call the hook of a container whose name is taken; `working_dir` is whose it is."""

    def run(working_dir: str) -> tuple[BaseException | None, list[str]]:
        docker = tmp_path / "docker"
        docker.write_text(FAKE_DOCKER, encoding="utf-8")
        docker.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        (tmp_path / "docker.working_dir").write_text(working_dir, encoding="utf-8")
        monkeypatch.setenv("PULUMI_CONFIG", "CANARY")

        def program() -> pulumi.Output[None]:
            settings = Settings(host=LocalHostSettings(kind="local", socket="unix:///run/x.sock"))
            words = ["postgres-db", "postgres-stack", "/srv", "120"]
            binding = stray_hook(
                "platform-postgres", open_host("host", settings), "remove-stray-container.sh", *words
            )
            (hook,) = binding.before_create or []
            called: Any = cast("pulumi.ResourceHook", hook).callback(
                pulumi.ResourceHookArgs(urn="", id="", name="", type="")
            )
            return pulumi.Output.from_input(asyncio.ensure_future(called))

        error = engine.run(program).error
        return error, (tmp_path / "docker.log").read_text(encoding="utf-8").splitlines()

    return run


def test_the_hook_hands_on_nothing_of_the_program_s_environment(
    run_hook: Callable[[str], tuple[BaseException | None, list[str]]], tmp_path: Path
) -> None:
    run_hook("/srv/apps/postgres-stack")
    assert "CANARY" not in (tmp_path / "docker.environment").read_text(encoding="utf-8")


def test_the_hook_removes_a_container_of_ours(
    run_hook: Callable[[str], tuple[BaseException | None, list[str]]],
) -> None:
    error, asked = run_hook("/srv/apps/postgres-stack")
    assert error is None
    assert asked[-2:] == [
        "unix:///run/x.sock stop --time 120 postgres-db",
        "unix:///run/x.sock rm postgres-db",
    ]


def test_the_hook_leaves_anybody_elses_alone_and_says_so(
    run_hook: Callable[[str], tuple[BaseException | None, list[str]]],
) -> None:
    error, asked = run_hook("/home/somebody/postgres-stack")
    assert isinstance(error, pulumi.RunError)
    assert str(error) == (
        "a container named postgres-db is there that is not this platform's; rename or remove it, then run up again"
    )
    assert not [line for line in asked if " rm " in line or " stop " in line]
