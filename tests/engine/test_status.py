"""status.sh on real servers: what it says while parts of them are down, full, or not the platform's own."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.engine.platform import SERVERS, Platform
from tests.waiting import until

pytestmark = pytest.mark.late

OF_POSTGRES = ("postgres", "connections", "transactions", "wraparound", "slots")
FIGURES = (*OF_POSTGRES, "pools", "redis")
# What it may take with a part that hangs, and some more for a machine that is busy with other things.
BOUND_SECONDS = 15


@dataclass(frozen=True)
class Found:
    """One run: each check's state and detail by its name, and what a person sees."""

    states: dict[str, str]
    details: dict[str, str]
    code: int

    def only(self, *names: str) -> None:
        """These checks are `fail`, and no others."""
        assert sorted(name for name, state in self.states.items() if state == "fail") == sorted(names), (
            self.details
        )


class Status:
    """The platform's status.sh."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def run(self, *words: str, docker_host: str | None = None) -> "subprocess.CompletedProcess[str]":
        host = ["env", f"DOCKER_HOST={docker_host}"] if docker_host else []
        begun = time.monotonic()
        ran = self.platform.run([*host, "sh", str(self.platform.srv / "apps/status.sh"), *words], check=False)
        assert time.monotonic() - begun < BOUND_SECONDS
        assert ran.stderr == ""
        return ran

    def look(self, **options: Any) -> Found:
        ran = self.run("--json", **options)
        checks = json.loads(ran.stdout)["checks"]
        return Found(
            {check["name"]: check["state"] for check in checks},
            {check["name"]: check["detail"] for check in checks},
            ran.returncode,
        )

    @contextmanager
    def docker(self, do: str, undo: str, container: str) -> Iterator[None]:
        """Something is done to a container, and undone."""
        self.platform.docker(*do.split(), container)
        try:
            yield
        finally:
            self.platform.docker(*undo.split(), container)
            for name in SERVERS:
                until(lambda name=name: self.platform.healthy(name), seconds=60, what=f"{name} healthy")


@pytest.fixture
def status(platform: Platform) -> Status:
    for name in SERVERS:
        until(lambda name=name: platform.healthy(name), seconds=60, what=f"{name} healthy")
    return Status(platform)


def test_a_platform_that_is_well(status: Status) -> None:
    begun = time.monotonic()
    screen = status.run()
    print(f"make status of a platform that is well: {time.monotonic() - begun:.1f} s")
    assert screen.returncode == 0, screen.stdout
    lines = screen.stdout.splitlines()
    assert lines[0].startswith("local on ")
    assert ": well" in lines[0]
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 115
    found = status.look()
    assert found.code == 0
    for name in ("docker", *SERVERS, "images", *FIGURES, "memory", "machine-memory", "secrets", "wal"):
        assert found.states[name] == "ok", found.details[name]
    assert found.details["postgres"].startswith("version 17.")
    assert found.details["redis"].startswith("version 7.")
    assert found.details["pools"].startswith("PgBouncer 1.")
    assert found.details["images"] == "all 4 containers run what is pinned"
    # Less than all, and more than nothing.
    assert all(f"{name} 0 %" not in found.details["memory"] for name in ("postgres-db", "pgbouncer"))
    for name in (*SERVERS, "postgres-wal"):
        assert name in found.details["memory"]


def test_redis_is_stopped(status: Status) -> None:
    with status.docker("stop", "start", "redis-cache"):
        found = status.look()
        found.only("redis-cache")
        assert found.code == 1
        assert found.states["redis"] == "unknown"
        lines = status.run().stdout.splitlines()
        assert lines[0].endswith(": 1 thing needs a person: redis-cache; 1 thing cannot be told")
        assert any(line.startswith("  fail    redis-cache: ended ") for line in lines)


def test_postgresql_is_down(status: Status) -> None:
    with status.docker("stop", "start", "postgres-db"):
        found = status.look()
        # PgBouncer's console answers all the same.
        found.only("postgres-db")
        assert {found.states[name] for name in (*OF_POSTGRES, "wal")} == {"unknown"}
        assert found.states["pools"] == found.states["redis"] == "ok"


@pytest.mark.parametrize(
    ("container", "check"), [("postgres-db", "postgres"), ("pgbouncer", "pools"), ("redis-cache", "redis")]
)
def test_a_server_that_hangs_is_told_in_time(status: Status, container: str, check: str) -> None:
    with status.docker("kill --signal STOP", "kill --signal CONT", container):
        found = status.look()
        assert check in [name for name, state in found.states.items() if state == "fail"]
        assert "does not answer" in found.details[check]
        assert found.states["docker"] == "ok"
    assert status.platform.docker("ps", "--all", "--quiet", "--filter", "name=pooler-console") == ""


def test_a_container_that_is_paused(status: Status) -> None:
    with status.docker("pause", "unpause", "pgbouncer"):
        found = status.look()
        found.only("pgbouncer")
        assert found.details["pgbouncer"] == "paused; docker unpause pgbouncer"
        assert found.states["pools"] == "unknown"


def test_docker_does_not_answer(status: Status) -> None:
    found = status.look(docker_host=f"unix://{status.platform.folder}/nobody.sock")
    found.only("docker")
    assert {found.states[name] for name in (*SERVERS, "images", *FIGURES)} == {"unknown"}
    assert found.states["disk"] == found.states["secrets"] == "ok"


def test_connections_that_run_out(status: Status) -> None:
    most = int(status.platform.psql("SHOW max_connections"))
    with ExitStack() as held:

        def hold(number: int) -> None:
            for _ in range(number):
                held.enter_context(status.platform.connect(pooled=False))

        hold(int((most - 3) * 0.85))
        assert status.look().states["connections"] == "warn"
        hold(int((most - 3) * 0.12))
        found = status.look()
        found.only("connections")
        assert f"of {most - 3} in use (9" in found.details["connections"]
        # Those of superusers too.
        with pytest.raises(psycopg.OperationalError):
            hold(most)
        found = status.look()
        found.only("connections")
        assert found.details["connections"].startswith("not one is left")
    until(lambda: status.look().states["connections"] == "ok", seconds=30, what="connections given back")


def test_who_waits_for_a_lock_and_who_is_idle_in_a_transaction(status: Status) -> None:
    lock = "SELECT pg_advisory_xact_lock(1)"
    with status.platform.connect(pooled=False) as holder, status.platform.connect(pooled=False) as waiter:
        holder.execute("BEGIN")
        holder.execute(lock)
        thread = threading.Thread(target=waiter.execute, args=(lock,))
        thread.start()
        try:
            until(
                lambda: "1 wait for a lock" in status.look().details["connections"],
                seconds=30,
                what="the one that waits",
            )
            assert ", of platform_admin; 1 idle in transaction" in status.look().details["transactions"]
        finally:
            holder.execute("ROLLBACK")
            thread.join()


def test_clients_that_wait_for_a_pool(status: Status) -> None:
    password = status.platform.application_secrets["reporting"]["database"]

    def client() -> "psycopg.Connection[Any]":
        return status.platform.connect(user="reporting_user", password=password, database="reporting")

    waiter = None
    clients = [client() for _ in range(status.platform.config["applications"]["reporting"]["pool"] + 1)]
    try:
        for holder in clients[:-1]:
            holder.execute("BEGIN")
        waiter = threading.Thread(target=_until_it_fails, args=(clients[-1],))
        waiter.start()
        until(lambda: status.look().states["pools"] != "ok", seconds=20, what="a pool in use")
        said = status.look().details["pools"]
        assert "1 wait, the longest for" in said
        assert "(reporting)" in said
    finally:
        for one in clients:
            one.close()
        if waiter:
            waiter.join()


def _until_it_fails(client: "psycopg.Connection[Any]") -> None:
    # Its connection is closed under it, or PgBouncer lets nobody wait for longer.
    with suppress(psycopg.Error):
        client.execute("SELECT 1")


def test_memory_of_redis_that_runs_out(status: Status) -> None:
    admin = status.platform.redis()
    before = int(admin.config_get("maxmemory")["maxmemory"] or 0)
    try:
        admin.config_set("maxmemory", int(admin.info("memory")["used_memory"] * 1.02))
        found = status.look()
        found.only("redis")
        assert "when it is full, writes are refused" in found.details["redis"]
    finally:
        admin.config_set("maxmemory", before)
    assert status.look().states["redis"] == "ok"


def test_a_slot_that_nobody_reads(status: Status) -> None:
    status.platform.psql("SELECT pg_create_physical_replication_slot('left_over')")
    try:
        found = status.look()
        assert (found.states["slots"], found.code) == ("warn", 0)
        assert found.details["slots"].startswith("nobody reads left_over")
    finally:
        status.platform.psql("SELECT pg_drop_replication_slot('left_over')")


def test_a_container_of_another_image(status: Status) -> None:
    platform = status.platform
    pin = platform.docker("inspect", "--format", "{{.Config.Image}}", "redis-cache")
    other = platform.docker("inspect", "--format", "{{.Config.Image}}", "pgbouncer")
    platform.docker("stop", "redis-cache")
    platform.docker("rename", "redis-cache", "redis-kept")
    try:
        # One that never ran is older than any `up` that may be at work.
        platform.docker("create", "--name", "redis-cache", "--network", "none", other)
        found = status.look()
        found.only("images", "redis-cache")
        assert f"redis-cache runs {other[: other.index('sha256:') + 19]} and not" in found.details["images"]
        platform.docker("rm", "redis-cache")
        platform.docker(
            "run",
            "--detach",
            "--name",
            "redis-cache",
            "--network",
            "none",
            "--entrypoint",
            "sleep",
            other,
            "60",
        )
        found = status.look()
        assert found.states["images"] == "warn"
        assert "without a health check" in found.details["redis-cache"]
    finally:
        platform.run(["docker", "rm", "--force", "redis-cache"], check=False)
        platform.docker("rename", "redis-kept", "redis-cache")
        platform.docker("start", "redis-cache")
        until(lambda: platform.healthy("redis-cache"), seconds=60, what="redis-cache healthy")
    assert platform.docker("inspect", "--format", "{{.Config.Image}}", "redis-cache") == pin
    assert status.look().states["images"] == "ok"


def test_a_backup_that_is_old_and_a_drift_that_was_found(status: Status) -> None:
    state = status.platform.srv / "backups/state"
    kept = {
        name: (state / name).read_text() if (state / name).exists() else None
        for name in ("dumps", "dumps.good", "drift")
    }
    run = status.platform.srv / "backups/dumps/20200102T030405Z"
    run.mkdir(parents=True)
    old = int(time.time()) - 3 * 86400
    try:
        for name in ("dumps", "dumps.good"):
            (state / name).write_text(f"ok\t{old}\tone database\n")
        (state / "drift").write_text(f"fail\t{old}\t2 differences\n")
        found = status.look()
        # No timer makes them here, so a person does.
        assert (found.states["backup"], found.states["drift"]) == ("warn", "warn")
        assert found.details["backup"].startswith("the last good one is 3 days old, more than 26 h")
        assert found.details["drift"].startswith("looked at 3 days ago: 2 differences")
    finally:
        run.rmdir()
        for name, text in kept.items():
            if text is None:
                (state / name).unlink()
            else:
                (state / name).write_text(text)
