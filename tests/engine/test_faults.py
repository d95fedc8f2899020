"""Faults: each ends in a clear error or recovers by itself, and the next `up` is clean."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pulumi import automation

from tests.engine.platform import CONTAINERS, Platform, works
from tests.waiting import until


@pytest.mark.parametrize("container", CONTAINERS)
def test_kill_9_of_a_container_is_recovered(platform: Platform, container: str) -> None:
    platform.psql("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    platform.redis().set("kept", "42")
    time.sleep(1.1)  # appendfsync everysec
    # A reload must not count as a stop by hand, after which Docker would not restart the container.
    platform.run(["docker", "exec", "pgbouncer", "sh", "-c", "kill -HUP 1"])
    before = platform.ids()
    pid = int(platform.docker("inspect", "--format", "{{.State.Pid}}", container))
    os.kill(pid, signal.SIGKILL)
    until(
        lambda: int(platform.docker("inspect", "--format", "{{.State.Pid}}", container)) not in (0, pid),
        seconds=30,
        what=f"{container} restarted",
    )
    works(platform)
    assert platform.ids() == before
    assert platform.psql("SELECT answer FROM kept") == "42"
    assert platform.redis().get("kept") == b"42"


def test_a_restart_of_the_docker_daemon_is_recovered(platform: Platform) -> None:
    # A reload must not count as a stop by hand, after which Docker would not restart the container.
    platform.run(["docker", "exec", "pgbouncer", "sh", "-c", "kill -HUP 1"])
    restart = os.environ.get("CDP_TEST_RESTART_DOCKER")
    assert restart, "CDP_TEST_RESTART_DOCKER must name the command that restarts the tests' Docker daemon"
    platform.psql("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    subprocess.run(["sh", "-c", restart], check=True, timeout=200)
    until(
        lambda: platform.run(["docker", "version"], check=False).returncode == 0,
        seconds=60,
        what="Docker answers",
    )
    works(platform)
    assert platform.psql("SELECT answer FROM kept") == "42"


def test_a_wrong_digest_is_refused_and_the_old_container_stays(platform: Platform) -> None:
    catalogue = json.loads(Path(platform.config["imageCatalogue"]).read_text())
    wrong = "sha256:" + "ab" * 32
    catalogue["redis"]["manifests"] = dict.fromkeys(catalogue["redis"]["manifests"], wrong)
    path = platform.folder / "wrong.json"
    path.write_text(json.dumps(catalogue))
    before = platform.ids()
    with platform.changed(imageCatalogue=str(path)), pytest.raises(automation.CommandError) as failed:
        platform.up()
    assert wrong in str(failed.value)
    assert platform.ids() == before
    platform.up()
    works(platform)


def test_an_image_without_the_architecture_is_refused_before_anything_changes(running: Platform) -> None:
    catalogue = json.loads(Path(running.config["imageCatalogue"]).read_text())
    for image in catalogue.values():
        image["manifests"] = {"arm64" if "amd64" in image["manifests"] else "amd64": "sha256:" + "ab" * 32}
    path = running.folder / "other-architecture.json"
    path.write_text(json.dumps(catalogue))
    before = running.ids()
    with (
        running.changed(imageCatalogue=str(path)),
        pytest.raises(automation.CommandError, match="has no manifest for"),
    ):
        running.up()
    assert running.ids() == before


def test_a_taken_port_is_named_and_the_next_up_is_clean(platform: Platform) -> None:
    # Not 16432: pulumi hides each secret wherever it stands in what it prints, and one of ours is "6432".
    port = 15999
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        refused = pytest.raises(automation.CommandError, match=rf"{port}.*(in use|allocated)")
        with platform.changed(pgbouncer={"port": port}), refused:
            platform.up()
    # The container was made and not started, which only a refresh shows to pulumi; `make up` adds it by itself.
    platform.up(refresh=True)
    works(platform)


def test_a_foreign_container_of_our_name_is_named_and_left_alone(platform: Platform) -> None:
    image = platform.docker("inspect", "--format", "{{.Image}}", "redis-cache")
    platform.docker("rm", "-f", "redis-cache")
    foreign = platform.docker("run", "-d", "--name", "redis-cache", image, "sleep", "600")
    try:
        with pytest.raises(automation.CommandError, match="redis-cache is there that is not this platform's"):
            platform.up(refresh=True)
        assert platform.docker("inspect", "--format", "{{.Id}}", "redis-cache") == foreign
    finally:
        platform.docker("rm", "-f", foreign)
    platform.up(refresh=True)
    works(platform)


def test_two_ups_at_the_same_time(platform: Platform) -> None:
    """One wins; the other is told that the stack is locked, and does nothing."""
    with platform.changed(redis={"maxmemory": 200}):
        words = ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "local"]
        ups = [
            subprocess.Popen(
                words,
                cwd=platform.project,
                env=platform.environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for _ in range(2)
        ]
        said = [up.communicate(timeout=300)[0] for up in ups]
        codes = [up.returncode for up in ups]
        assert 0 in codes, said
        for code, text in zip(codes, said, strict=True):
            if code:
                assert "locked" in text
        works(platform)


def test_a_killed_up_leaves_a_lock_that_is_said_and_can_be_cancelled(platform: Platform) -> None:
    with platform.changed(redis={"maxmemory": 190}):
        up = subprocess.Popen(
            [sys.executable, "-c", "import subprocess,sys; subprocess.run(sys.argv[1:])",
             "pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "local"],
            cwd=platform.project, env=platform.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        locks = platform.folder / "backend/.pulumi/locks"
        until(
            lambda: any(path.is_file() for path in locks.rglob("*")), seconds=60, what="the stack is locked"
        )
        os.killpg(up.pid, signal.SIGKILL)
        up.wait()
        with pytest.raises(automation.CommandError, match="locked"):
            platform.up()
        platform.pulumi("cancel", "--yes", "local")
        platform.up(refresh=True)
        works(platform)
