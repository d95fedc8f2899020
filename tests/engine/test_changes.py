"""A changed setting replaces what it must and nothing else; data outlives every replacement."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation

from tests.engine.applications import place
from tests.engine.platform import CHECKOUT, CONTAINERS, SERVERS, Platform, Run, applications, works


def _replaced(run: Run) -> set[str]:
    return {name for name, operation in run.operations().items() if "replace" in operation}


def _changed(run: Run) -> set[str]:
    return {
        name for name, operation in run.operations().items() if operation in ("update", "create", "delete")
    }


@pytest.mark.parametrize(
    ("config", "replaced", "changed"),
    [
        (
            {"postgres": {"memory": 640, "port": 5432}},
            {"platform-postgres-container"},
            {
                *("platform-postgres-files", "platform-postgres-running"),
                *("platform-postgres-hash", "platform-postgres-hold"),
            },
        ),
        (
            {"postgres": {"memory": 512, "slowQueryMilliseconds": 500}},
            set[str](),
            {"platform-postgres-files", "platform-postgres-running"},
        ),
        (
            {"redis": {"maxmemory": 128}},
            {"platform-redis-container"},
            {"platform-redis-files", "platform-redis-hash", "platform-redis-settled"},
        ),
        (
            {"pgbouncer": {"poolSize": 10}},
            set[str](),
            {"platform-pgbouncer-files", "platform-pgbouncer-running"},
        ),
        (
            {"pgbouncer": {"port": 6433}},
            {"platform-pgbouncer-container"},
            # The certificate is asked for at the published port, which stands in server.external.env too.
            {
                "platform-pgbouncer-hash",
                "platform-pgbouncer-certificate",
                *(f"platform-application-{name}-password" for name in applications()),
            },
        ),
    ],
    ids=["postgres.memory", "postgres.slowQuery", "redis.maxmemory", "pgbouncer.poolSize", "pgbouncer.port"],
)
def test_preview_of_a_changed_setting(
    running: Platform, config: dict[str, Any], replaced: set[str], changed: set[str]
) -> None:
    with running.changed(**config):
        seen = running.preview()
    assert _replaced(seen) == replaced
    # The provider of dynamic resources is given the whole configuration (docs/decisions/0014).
    assert _changed(seen) - {"platform-compose", "default"} == changed


def test_a_reloaded_setting_takes_effect_without_a_restart(platform: Platform) -> None:
    ids = platform.ids()
    with platform.changed(postgres={"memory": 512, "slowQueryMilliseconds": 321}, pgbouncer={"poolSize": 7}):
        platform.up()
        assert platform.ids() == ids
        assert platform.psql("SHOW log_min_duration_statement") == "321ms"
        shown = platform.run([str(platform.srv / "apps/pooler.sh"), "show", "config"]).stdout
        assert any(
            line.split("|")[0].strip() == "default_pool_size" and line.split("|")[1].strip() == "7"
            for line in shown.splitlines()
        )


def test_a_value_that_postgresql_rejects_is_named(platform: Platform) -> None:
    with platform.changed(postgres={"memory": 512, "timezone": "Europ/Berlin"}):
        with pytest.raises(automation.CommandError, match="refuses its configuration"):
            platform.up()
        assert platform.psql("SHOW timezone") == "UTC"


def test_data_survives_the_replacement_of_each_container(platform: Platform) -> None:
    platform.psql(
        "DROP TABLE IF EXISTS survivor; CREATE TABLE survivor AS SELECT n FROM generate_series(1, 10000) n"
    )
    platform.redis().set("survivor", "here")
    before = platform.ids()
    with platform.changed(postgres={"memory": 640}, redis={"maxmemory": 128}, pgbouncer={"memory": 96}):
        seen = platform.up()
        assert _replaced(seen) == {f"platform-{n}-container" for n in ("postgres", "redis", "pgbouncer")}
        now = platform.ids()
        assert [name for name in now if now[name] != before[name]] == list(SERVERS)
        with platform.connect() as client:
            assert client.execute("SELECT count(*), sum(n) FROM survivor").fetchone() == (10000, 50005000)
        assert platform.redis().get("survivor") == b"here"
        assert platform.psql("SHOW shared_buffers") == "160MB"
        limit = platform.docker("inspect", "--format", "{{.HostConfig.Memory}}", "postgres-db")
        assert int(limit) == 640 * 1024 * 1024
        # Compose follows.
        assert platform.compose("up", "-d").count("Recreate") == 0


def test_postgresql_is_stopped_cleanly_by_a_replacement(platform: Platform) -> None:
    with platform.changed(postgres={"memory": 704}):
        platform.up()
        # The new container's log tells how the old one left the cluster.
        logs = platform.run(["docker", "logs", "postgres-db"])
        assert "database system was shut down at" in logs.stdout + logs.stderr
        assert "was interrupted" not in logs.stdout + logs.stderr


def test_destroy_keeps_data_and_up_brings_it_back(platform: Platform) -> None:
    platform.psql("DROP TABLE IF EXISTS survivor; CREATE TABLE survivor AS SELECT 'still here' AS what")
    platform.redis().set("kept", "still here")
    platform.down()
    assert (
        platform.docker(
            "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=postgres-stack"
        )
        == ""
    )
    state = json.loads(platform.state())["deployment"]
    kept = {r["urn"].rpartition("::")[2] for r in state["resources"] if r.get("protect")}
    assert kept == {"platform-tree", "platform-postgres-cluster", "platform-network-bridge"}
    platform.up()
    assert platform.psql("SELECT what FROM survivor") == "still here"
    assert platform.redis().get("kept") == b"still here"


@contextmanager
def _another_subnet(platform: Platform) -> Iterator[Callable[[], None]]:
    """In the settings, and a way to lift the protection that is in the way of it."""
    network = next(
        resource["urn"]
        for resource in json.loads(platform.state())["deployment"]["resources"]
        if resource["urn"].endswith("::platform-network-bridge")
    )
    moved = applications()
    moved["trading-app"]["address"] = "172.29.7.200"
    platform.psql("DROP TABLE IF EXISTS survivor; CREATE TABLE survivor AS SELECT 'still here' AS what")

    def unprotect() -> None:
        platform.pulumi("state", "unprotect", "--yes", "--stack", "local", network)

    with platform.changed(network={"subnet": "172.29.7.0/24"}, applications=moved):
        yield unprotect


def test_another_subnet_is_refused_until_the_network_is_free_and_unprotected(platform: Platform) -> None:
    """The manual's procedure."""
    ids = platform.ids()
    with _another_subnet(platform) as unprotect:
        with place(platform) as somebody:
            platform.docker("rename", somebody.container, "somebody")
            with pytest.raises(automation.CommandError, match="other containers are on it: somebody"):
                platform.up()
        with pytest.raises(automation.CommandError, match="marked for protection"):
            platform.up()
        assert platform.ids() == ids
        unprotect()
        platform.up()
        subnet = platform.docker(
            "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", "central-data-platform"
        )
        assert subnet == "172.29.7.0/24"
        works(platform)
    unprotect()
    platform.up()
    works(platform)
    assert platform.psql("SELECT what FROM survivor") == "still here"


def test_an_up_that_was_cut_off_while_the_network_was_made_again(platform: Platform) -> None:
    """The containers had gone, the network not yet: `up` would have them go once more. docs/break-glass.md has the way out."""
    with _another_subnet(platform) as unprotect:
        unprotect()
        state = json.loads(platform.state())
        for resource in state["deployment"]["resources"]:
            if resource["type"] == "docker:index/container:Container":
                resource["pendingReplacement"] = True
        platform.docker("rm", "--force", *CONTAINERS)
        platform.pulumi("stack", "import", "--stack", "local", stdin=json.dumps(state))
        with pytest.raises(automation.CommandError, match="Error stopping container"):
            platform.up()
        (command,) = re.findall(
            r"`(pulumi destroy --target .*?) --stack prod`", (CHECKOUT / "docs/break-glass.md").read_text()
        )
        platform.pulumi(*shlex.split(command)[1:], "--yes", "--stack", "local")
    platform.up()
    works(platform)
    assert platform.psql("SELECT what FROM survivor") == "still here"


def test_a_plain_destroy_is_refused(running: Platform) -> None:
    ids = running.ids()
    with pytest.raises(Exception, match="protect"):
        running.stack.destroy()
    # What the engine may have deleted before it met a protected resource comes back.
    running.settle()
    assert set(running.ids()) == set(ids)


def test_another_locale_is_refused_for_a_cluster_that_exists(platform: Platform) -> None:
    with platform.changed(postgres={"memory": 512, "locale": {"provider": "icu", "name": "en-US"}}):
        with pytest.raises(Exception, match=r"was made with locale 'builtin C\.UTF-8'"):
            platform.up()
        assert platform.psql("SELECT 1") == "1"


def test_an_unmounted_data_directory_never_becomes_a_new_cluster(platform: Platform) -> None:
    data, away = platform.srv / "data/postgres", platform.srv / "data/postgres.away"
    platform.docker("stop", "postgres-db")
    data.rename(away)
    data.mkdir(mode=0o700)
    try:
        platform.run(["docker", "start", "postgres-db"], check=False)
        platform.run(["sh", "-c", "sleep 3"])
        assert not list(data.iterdir())
        logs = platform.run(["docker", "logs", "--tail", "20", "postgres-db"])
        assert "Database is uninitialized" in logs.stdout + logs.stderr
    finally:
        platform.docker("stop", "postgres-db")
        data.rmdir()
        Path(away).rename(data)
        platform.docker("start", "postgres-db")
