"""Monitoring on a real engine: what it sees, what it may not see, what it tells, and that it goes again."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.exceptions import NoPermissionError

from components.render.monitoring import DASHBOARDS, ROLE, RULES, redis_password
from tests.engine.monitored import MONITORS, Monitored, with_stand_ins
from tests.engine.platform import CHECKOUT, works
from tests.waiting import until

pytestmark = pytest.mark.fresh

METRIC = re.compile(r"\b(?:pg|pgbouncer|redis|node|platform)_[A-Za-z0-9_]+(?=[\s{\[),]|$)")


@pytest.fixture(scope="module")
def monitored(
    tmp_path_factory: pytest.TempPathFactory, docker_host: str, catalogue: Path
) -> Iterator[Monitored]:
    """A platform with monitoring, which has looked at it once."""
    folder = tmp_path_factory.mktemp("monitored")
    platform = Monitored(folder / "platform", docker_host, with_stand_ins(catalogue, folder))
    try:
        platform.up()
        yield platform
    finally:
        platform.remove()


def expressions() -> dict[str, str]:
    """Each query of the rules and the dashboards, by where it stands."""
    found: dict[str, str] = {}
    for path in RULES.glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            found |= {f"{path.name} {rule['alert']}": rule["expr"] for rule in group["rules"]}
    for path in DASHBOARDS.glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                words = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "6h")
                found[f"{path.name} {panel['title']} {target['refId']}"] = words
    return found


def status(platform: Monitored) -> dict[str, dict[str, Any]]:
    """The checks of status.sh by name."""
    ran = platform.run(["sh", str(platform.srv / "apps/status.sh"), "--json"], check=False)
    return {check["name"]: check for check in json.loads(ran.stdout)["checks"]}


def test_everything_is_reached_and_a_second_up_changes_nothing(monitored: Monitored) -> None:
    for name in MONITORS:
        until(lambda name=name: monitored.healthy(name), seconds=60, what=f"{name} healthy")
    until(lambda: len(monitored.query("up == 1")) == len(MONITORS), seconds=60, what="all targets up")
    for server in ("pg_up", "pgbouncer_up", "redis_up"):
        until(lambda server=server: bool(monitored.query(f"{server} == 1")), seconds=60, what=server)
    assert monitored.up().operations() == {}
    checks = status(monitored)
    assert {checks[name]["state"] for name in ("monitoring", *MONITORS)} == {"ok"}, checks
    assert monitored.compose("up", "-d", "--no-recreate").count("Created") == 0


def test_ports_are_open_on_loopback_alone(monitored: Monitored) -> None:
    published = {
        name: monitored.docker("inspect", "--format", "{{json .HostConfig.PortBindings}}", name)
        for name in MONITORS
    }
    assert json.loads(published.pop("prometheus")) == {
        "9090/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9090"}]
    }
    assert {json.dumps(json.loads(ports) or {}) for ports in published.values()} == {"{}"}


def test_the_rules_do_what_their_tests_say(monitored: Monitored, tmp_path: Path) -> None:
    for path in (*RULES.glob("*.yml"), CHECKOUT / "tests/rules/rules_test.yml"):
        shutil.copy(path, tmp_path)
    image = monitored.docker("inspect", "--format", "{{.Config.Image}}", "prometheus")
    words = ["run", "--rm", "--network", "none", "--user", "0", "--volume", f"{tmp_path}:/rules:ro"]
    said = monitored.docker(
        *words, "--entrypoint", "promtool", image, "test", "rules", "/rules/rules_test.yml"
    )
    assert "SUCCESS" in said
    # A rule that has no test is found here.
    tested = {
        rule["alertname"]
        for group in yaml.safe_load((tmp_path / "rules_test.yml").read_text())["tests"]
        for rule in group["alert_rule_test"]
        if rule["exp_alerts"]
    }
    known = {where.split()[1] for where in expressions() if ".yml" in where}
    assert known - tested == {"RedisDown"} - tested


def test_every_query_finds_its_metrics(monitored: Monitored) -> None:
    monitored.run([str(monitored.srv / "apps/backup.sh")])
    monitored.run(["sh", str(monitored.srv / "apps/metrics.sh")])
    assert (monitored.srv / "run/metrics/platform.prom").stat().st_mode & 0o777 == 0o644
    until(
        lambda: bool(monitored.query('platform_task_failed{task="base"} == 0')),
        seconds=60,
        what="metrics of backups",
    )
    names = set(monitored.get("/api/v1/label/__name__/values")["data"])
    missing: dict[str, str] = {}
    for where, expression in expressions().items():
        assert monitored.get("/api/v1/query", query=expression)["status"] == "success"
        asked = set(METRIC.findall(expression))
        assert asked or "up" in expression or "ALERTS" in expression, where
        for name in asked - names:
            if not (name.startswith("node_pressure_") and not Path("/proc/pressure").exists()):
                missing[name] = where
    assert missing == {}, sorted(names)


def test_the_platform_s_own_metrics_are_what_status_says(monitored: Monitored) -> None:
    states = {"ok": 0, "warn": 1, "fail": 2, "unknown": 3}
    found = {s["metric"]["name"]: int(s["value"][1]) for s in monitored.query("platform_check_state")}
    checks = {name: states[check["state"]] for name, check in status(monitored).items()}
    assert found.keys() >= {"postgres-db", "redis-cache", "pgbouncer", "backup", "disk"}
    assert {name: found[name] for name in ("postgres-db", "redis-cache", "backup")} == {
        name: checks[name] for name in ("postgres-db", "redis-cache", "backup")
    }
    (ends,) = monitored.query('platform_certificate_end_timestamp_seconds{name="redis"} - time()')
    assert 390 * 86400 < float(ends["value"][1]) < 398 * 86400
    databases = {s["metric"]["datname"] for s in monitored.query("platform_database_live_rows")}
    assert {"postgres", "librarian", "reporting", "trading"} <= databases


def test_rows_are_those_of_their_own_database(monitored: Monitored) -> None:
    monitored.psql("CREATE TABLE filled AS SELECT generate_series(1, 1000) AS n", "librarian")
    try:
        monitored.psql("ANALYZE filled", "librarian")
        monitored.run(["sh", str(monitored.srv / "apps/metrics.sh")])
    finally:
        monitored.psql("DROP TABLE filled", "librarian")
    lines = (monitored.srv / "run/metrics/platform.prom").read_text().splitlines()
    rows = dict(line.split() for line in lines if line.startswith("platform_database_live_rows{"))
    assert int(rows['platform_database_live_rows{datname="librarian"}']) >= 1000
    assert int(rows['platform_database_live_rows{datname="trading"}']) < 1000


def test_the_role_sees_statistics_and_no_data(monitored: Monitored) -> None:
    def psql(user: str, database: str, sql: str, *further: str) -> "subprocess.CompletedProcess[str]":
        words = ["docker", "exec", "--user", user, "postgres-db", "psql", "-XqtA", *further]
        return monitored.run([*words, "-U", ROLE, "-d", database, "-c", sql], check=False)

    monitored.psql("CREATE TABLE kept AS SELECT 1 AS secret")
    try:
        assert psql("nobody", "postgres", "SELECT count(*) > 0 FROM pg_stat_activity").stdout.strip() == "t"
        assert "permission denied" in psql("nobody", "postgres", "SELECT * FROM kept").stderr
        assert "permission denied" in psql("nobody", "postgres", "SELECT rolpassword FROM pg_authid").stderr
        assert "read-only transaction" in psql(
            "nobody", "postgres", "CREATE TEMPORARY TABLE x AS SELECT 1"
        ).stderr or (
            "permission denied" in psql("nobody", "postgres", "CREATE TEMPORARY TABLE x AS SELECT 1").stderr
        )
        assert "rejects connection" in psql("nobody", "librarian", "SELECT 1").stderr
        # The WAL receiver's user, and whoever comes over the network.
        assert "Peer authentication failed" in psql("postgres", "postgres", "SELECT 1").stderr
        assert "rejects connection" in psql("nobody", "postgres", "SELECT 1", "-h", "127.0.0.1").stderr
        assert (
            "Peer authentication failed"
            in monitored.run(
                [
                    "docker",
                    "exec",
                    "--user",
                    "nobody",
                    "postgres-db",
                    "psql",
                    "-U",
                    "platform_admin",
                    "-d",
                    "postgres",
                    "-c",
                    "SELECT 1",
                ],
                check=False,
            ).stderr
        )
    finally:
        monitored.psql("DROP TABLE kept")
    limits = monitored.psql(
        f"SELECT rolconnlimit, rolsuper, rolconfig::text FROM pg_roles WHERE rolname = '{ROLE}'"
    )
    assert limits.startswith("5|f|")
    assert "statement_timeout=10s" in limits


def test_redis_user_counts_and_reads_nothing(monitored: Monitored) -> None:
    client = redis.Redis(
        host="127.0.0.1", port=6379, username="monitor", password=redis_password(monitored.secrets["saltKey"])
    )
    assert client.execute_command("INFO", "memory")
    for words in (
        ("GET", "librarian:x"),
        ("SCAN", "0"),
        ("CONFIG", "GET", "*"),
        ("SLOWLOG", "GET"),
        ("CLIENT", "LIST"),
        ("ACL", "LIST"),
    ):
        with pytest.raises(NoPermissionError):
            client.execute_command(*words)


def test_no_secret_is_seen_from_outside_the_files(monitored: Monitored) -> None:
    secrets = {**monitored.secrets, "redis monitor": redis_password(monitored.secrets["saltKey"])}
    for name in MONITORS:
        logs = monitored.run(["docker", "logs", name])
        pid = monitored.docker("inspect", "--format", "{{.State.Pid}}", name)
        seen = "".join(
            [
                monitored.docker("inspect", name),
                logs.stdout,
                logs.stderr,
                *(Path(f"/proc/{pid}/{file}").read_text() for file in ("cmdline", "environ")),
            ]
        )
        assert [key for key, value in secrets.items() if value in seen] == []
    for path in ("/metrics", "/api/v1/status/config", "/api/v1/targets"):
        ran = monitored.run(
            ["docker", "exec", "prometheus", "wget", "-q", "-O", "-", f"http://localhost:9090{path}"]
        )
        assert [key for key, value in secrets.items() if value in ran.stdout] == []
    holding = [
        str(path.relative_to(monitored.srv))
        for path in (monitored.srv / "config").rglob("*")
        if path.is_file() and secrets["redis monitor"] in path.read_text()
    ]
    assert holding == ["config/monitoring/redis-exporter/passwords.json"]
    found = (monitored.srv / holding[0]).stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (59000, 59000, 0o400)


def test_a_stopped_redis_is_an_alert_and_a_check_of_status(monitored: Monitored) -> None:
    monitored.docker("stop", "redis-cache")
    try:
        until(
            lambda: "alert-RedisDown" in status(monitored),
            seconds=150,
            what="RedisDown fires",
        )
        check = status(monitored)["alert-RedisDown"]
        assert check["state"] == "fail"
        assert check["detail"] == "Redis does not answer its exporter; see docker logs redis-cache"
        assert check["since"].startswith("20")
    finally:
        monitored.docker("start", "redis-cache")
    until(lambda: "alert-RedisDown" not in status(monitored), seconds=60, what="RedisDown is over")


def test_without_the_store_status_says_that_nobody_knows(monitored: Monitored) -> None:
    monitored.docker("stop", "prometheus")
    try:
        checks = status(monitored)
        assert checks["monitoring"]["state"] == "fail"
        assert "nobody knows which alerts fire" in checks["monitoring"]["detail"]
        assert checks["prometheus"]["state"] == "fail"
    finally:
        monitored.docker("start", "prometheus")


def test_off_again_nothing_is_left_but_the_history(monitored: Monitored) -> None:
    monitored.config["monitoring"] = {"enabled": False}
    monitored.write_config()
    monitored.up()
    running = monitored.docker("ps", "--all", "--format", "{{.Names}}").split()
    assert [name for name in MONITORS if name in running] == []
    for path in ("config/monitoring", "run/metrics", "apps/metrics.sh", "config/pgbouncer/pg_ident.conf"):
        assert not (monitored.srv / path).exists(), path
    assert (monitored.srv / "data/prometheus").is_dir()
    assert monitored.psql(f"SELECT count(*) FROM pg_roles WHERE rolname = '{ROLE}'") == "0"
    assert "monitor" not in monitored.redis().acl_users()
    assert ROLE not in (monitored.srv / "config/postgres/pg_hba.conf").read_text()
    assert set(status(monitored)) & {"monitoring", *MONITORS} == set()
    works(monitored)
