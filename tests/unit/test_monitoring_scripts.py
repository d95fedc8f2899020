"""metrics.sh, what status.sh says of monitoring, and the small scripts beside them, with a platform that is only played."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scripted_host import Host, mode
from tests.unit.test_alert_scripts import Platform

SUMMARY = "Redis does not answer its exporter; see docker logs redis-cache"


def alert(name: str, *, state: str = "firing", severity: str = "critical", **labels: str) -> dict[str, Any]:
    """One alert as Prometheus' HTTP API has it."""
    return {
        "labels": {"alertname": name, "instance": "x:1", **labels, "severity": severity},
        "annotations": {"summary": SUMMARY},
        "state": state,
        "activeAt": "2026-11-30T06:00:00.123Z",
        "value": "0e+00",
    }


class Monitored(Platform):
    """With monitoring on; curl answers as the store would."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("config/monitoring", "run/metrics"):
            (self.srv / name).mkdir(parents=True)
        self.played.install("monitoring.d/checks.sh", "metrics.sh")
        (self.srv / "config/monitoring/monitoring.env").write_text("PROMETHEUS_PORT=9090\n")
        # Two databases, one of them with dead rows.
        self.played.instead["sql"] = """case $query in
  *'\\connect -reuse-previous=on "dbname='*librarian*pg_stat_user_tables*) printf 'postgres|0|0\\nlibrarian|20|7\\n' ;;
  *datistemplate*) printf 'postgres\\nlibrarian\\n' ;;
  *) cat "$answers/sql" ;;
esac"""
        self.answers([])
        self.host.stand_in(
            "df",
            """case "$*" in
  *--output=size*) printf 'Size Mounted on\\n1000 /\\n500 /srv\\n' ;;
  *--output=avail*target*) printf 'Avail Mounted on\\n100 /\\n400 /srv\\n' ;;
  *) echo Filesystem; echo /dev/x 100 1 1 40% /srv ;;
esac""",
        )

    def status(self) -> dict[str, tuple[str, str]]:
        """What status.sh says of everything: state and detail by name."""
        checks = self.played.checks().items()
        return {name: (str(check["state"]), str(check["detail"])) for name, check in checks}

    def answers(self, alerts: list[dict[str, Any]], *, down: str = "") -> None:
        body = json.dumps({"status": "success", "data": {"alerts": alerts}}, separators=(",", ":"))
        up = 'up{instance="a",job="node"} 1 1\n' + (f'up{{instance="b",job="{down}"}} 0 1\n' if down else "")
        self.host.stand_in(
            "curl",
            f'case "$*" in *api/v1/alerts*) printf %s {shlex.quote(body)} ;; *federate*) printf %s {shlex.quote(up)} ;; esac',
        )

    def metrics(self) -> dict[str, float]:
        """What node-exporter is given."""
        self.played.place()
        ran = self.host.run(self.srv / "apps/metrics.sh")
        assert (ran.returncode, ran.stderr) == (0, "")
        lines = (self.srv / "run/metrics/platform.prom").read_text().splitlines()
        return {k: float(v) for k, _, v in (line.rpartition(" ") for line in lines if line[0] != "#")}


@pytest.fixture
def platform(tmp_path: Path) -> Monitored:
    return Monitored(tmp_path)


# --- monitoring.d/checks.sh ---


def test_what_fires_is_a_check_and_what_is_pending_is_none(platform: Monitored) -> None:
    platform.answers(
        [
            alert("RedisDown"),
            alert("DiskFilling", severity="warning", mountpoint="/"),
            alert("PostgresDown", state="pending"),
            # status.sh has a check of its own for it.
            alert("BackupOld", check="backup"),
        ]
    )
    found = platform.status()
    assert found["monitoring"] == ("ok", "Prometheus answers and reaches everything")
    assert {name: check for name, check in found.items() if name.startswith("alert-")} == {
        "alert-RedisDown": ("fail", SUMMARY),
        "alert-DiskFilling": ("warn", SUMMARY),
    }
    ran = platform.host.run(platform.srv / "apps/status.sh", "--json")
    since = {check["name"]: check["since"] for check in json.loads(ran.stdout)["checks"]}
    assert since["alert-RedisDown"] == "2026-11-30T06:00:00.123Z"


def test_nothing_fires(platform: Monitored) -> None:
    assert not [name for name in platform.status() if name.startswith("alert-")]


def test_a_target_that_is_down_is_named(platform: Monitored) -> None:
    platform.answers([], down="pgbouncer")
    assert platform.status()["monitoring"] == ("warn", "Prometheus answers, and does not reach pgbouncer")


def test_a_store_that_does_not_answer_fails(platform: Monitored) -> None:
    platform.host.stand_in("curl", "echo 'curl: (7) Failed to connect' >&2; exit 7")
    state, detail = platform.status()["monitoring"]
    assert state == "fail"
    assert "nobody knows which alerts fire (curl: (7) Failed to connect)" in detail


def test_without_monitoring_nothing_is_said_of_it(platform: Monitored) -> None:
    (platform.srv / "config/monitoring/monitoring.env").unlink()
    assert "monitoring" not in platform.status()
    assert platform.host.calls("curl") == []


def test_an_alert_that_is_over_is_told_so_and_one_that_nobody_knows_of_is_not(platform: Monitored) -> None:
    sent = platform.host.folder / "sent"
    (platform.srv / "config/backup/webhook").write_text('url = "https://hooks.example/x"\n')
    platform.all_ran()

    def told(curl: str) -> list[str]:
        sent.unlink(missing_ok=True)
        platform.host.stand_in(
            "curl", f'case "$*" in *http-code*|*http_code*) cat >>{sent}; printf 200 ;; *) {curl} ;; esac'
        )
        platform.played.place()
        ran = platform.host.run(platform.srv / "apps/alert.sh")
        assert ran.returncode == 0, ran.stderr
        return (
            [json.loads(line)["text"].split(": ", 1)[1] for line in sent.read_text().splitlines()]
            if sent.exists()
            else []
        )

    def answer(alerts: list[dict[str, Any]]) -> str:
        body = json.dumps({"status": "success", "data": {"alerts": alerts}}, separators=(",", ":"))
        return f'case "$*" in *alerts*) printf %s {shlex.quote(body)} ;; esac'

    assert told(answer([alert("RedisDown")])) == [f"alert-RedisDown has failed: {SUMMARY}"]
    assert told(answer([alert("RedisDown")])) == []
    (gone,) = told("exit 7")
    assert gone.startswith("monitoring has failed: Prometheus does not answer")
    assert sorted(told(answer([]))) == [
        "alert-RedisDown is well again: it no longer fires",
        "monitoring is well again: Prometheus answers and reaches everything",
    ]


# --- metrics.sh ---


def test_ages_limits_and_results_of_tasks(platform: Monitored) -> None:
    platform.all_ran()
    platform.ran("drill", failed="the copy is torn")
    platform.settings(OFFSITE="s3:http://127.0.0.1:9000/bucket")
    found = platform.metrics()
    assert abs(found['platform_task_good_timestamp_seconds{task="dumps"}'] - (time.time() - 60)) < 30
    assert found['platform_task_failed{task="drill"}'] == 1
    assert found['platform_task_failed{task="dumps"}'] == 0
    assert found['platform_task_limit_seconds{task="base"}'] == 26 * 3600
    assert found['platform_task_limit_seconds{task="drill"}'] == 8 * 86400
    assert found['platform_task_limit_seconds{task="offsite-wal"}'] == 300
    assert 'platform_task_failed{task="wal"}' not in found
    assert found["platform_timer"] == 0
    platform.settings()
    (platform.units / "central-data-platform-metrics.timer").touch()
    found = platform.metrics()
    assert found["platform_timer"] == 1
    assert 'platform_task_limit_seconds{task="offsite-wal"}' not in found


def test_checks_of_status_are_numbers(platform: Monitored) -> None:
    platform.all_ran()
    platform.ran("drill", failed="torn")
    found = platform.metrics()
    assert found['platform_check_state{name="postgres-db"}'] == 0
    assert found['platform_check_state{name="drill"}'] == 2


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_ends_of_certificates_and_waivers(platform: Monitored, tmp_path: Path) -> None:
    for name, days in (("redis/tls/server", 40), ("tls/ca", 3650)):
        path = platform.srv / "config" / f"{name}.crt"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ed25519",
            "-nodes",
            "-subj",
            "/CN=x",
            "-days",
            str(days),
        ]
        subprocess.run(
            [*words, "-keyout", str(tmp_path / "key"), "-out", str(path)], check=True, capture_output=True
        )
    until = (datetime.now(UTC) + timedelta(days=5)).date()
    (platform.srv / "config/waivers.tsv").write_text(
        f"# application\tuntil\treason\ntrading-app\t{until}\tport\n"
    )
    found = platform.metrics()
    assert (
        abs(found['platform_certificate_end_timestamp_seconds{name="redis"}'] - time.time() - 40 * 86400)
        < 300
    )
    assert (
        abs(found['platform_certificate_end_timestamp_seconds{name="ca"}'] - time.time() - 3650 * 86400) < 300
    )
    # To the end of its last day.
    end = datetime.combine(until + timedelta(days=1), datetime.min.time(), UTC).timestamp()
    assert found['platform_waiver_end_timestamp_seconds{application="trading-app"}'] == end


def test_every_line_is_of_the_text_format_and_named_once(platform: Monitored) -> None:
    platform.all_ran()
    platform.metrics()
    lines = (platform.srv / "run/metrics/platform.prom").read_text().splitlines()
    sample = re.compile(r'platform_[a-z_]+(\{[a-z]+="[^"\n]*"\})? -?[0-9.e+]+')
    assert all(sample.fullmatch(line) for line in lines if not line.startswith("#")), lines
    types = [line for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    assert mode(platform.srv / "run/metrics/platform.prom") == "0644"


def test_where_postgresql_is_away_the_rest_is_written(platform: Monitored) -> None:
    platform.played.docker = "exit 1"
    platform.played.instead["sql"] = "exit 1"
    found = platform.metrics()
    assert found['platform_check_state{name="docker"}'] == 2
    assert not [name for name in found if "rows" in name]


def test_without_its_folder_it_says_what_to_do(platform: Monitored) -> None:
    shutil.rmtree(platform.srv / "run/metrics")
    assert "set monitoring.enabled" in platform.host.refused(platform.srv / "apps/metrics.sh")


def test_rows_of_every_database_and_sizes_of_file_systems(platform: Monitored) -> None:
    found = platform.metrics()
    assert found['platform_database_live_rows{datname="librarian"}'] == 20
    assert found['platform_database_dead_rows{datname="librarian"}'] == 7
    assert found['platform_database_dead_rows{datname="postgres"}'] == 0
    assert found['platform_filesystem_size_bytes{mountpoint="/srv"}'] == 500
    assert found['platform_filesystem_free_bytes{mountpoint="/"}'] == 100


# --- monitoring-tree.sh, remove-monitoring.sh, grafana-password.sh ---


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_the_folders_are_made_once_and_all_but_the_history_goes(tmp_path: Path) -> None:
    host = Host(tmp_path)
    for name in ("config/pgbouncer", "apps", "data", "run"):
        (host.srv / name).mkdir(parents=True)
    host.must("monitoring-tree.sh", str(host.srv))
    data = host.srv / "data/prometheus"
    assert (data.stat().st_uid, mode(data)) == (65534, "0700")
    kept = data / "chunk"
    kept.touch()
    (host.srv / "config/monitoring/grafana-secrets/admin-password").touch()
    (host.srv / "config/pgbouncer/pg_ident.conf").touch()
    host.must("monitoring-tree.sh", str(host.srv))
    assert kept.exists()
    host.must("remove-monitoring.sh", str(host.srv))
    host.must("remove-monitoring.sh", str(host.srv))
    assert kept.exists()
    left = {str(path.relative_to(host.srv)) for path in host.srv.rglob("*")}
    assert left == {
        "config",
        "config/pgbouncer",
        "apps",
        "data",
        "data/prometheus",
        "data/prometheus/chunk",
        "run",
    }


def test_grafana_is_told_its_password_on_standard_input(tmp_path: Path) -> None:
    host = Host(tmp_path)
    file = host.srv / "config/monitoring/grafana-secrets/admin-password"
    file.parent.mkdir(parents=True)
    file.write_text("CANARY-of-the-password")
    host.stand_in("docker", f"cat >{shlex.quote(str(tmp_path / 'heard'))}")
    assert host.must("grafana-password.sh", str(host.srv)) == ""
    assert (tmp_path / "heard").read_text() == "CANARY-of-the-password"
    (call,) = host.calls("docker")
    assert call[:3] == ["exec", "--interactive", "grafana"]
    assert "CANARY" not in " ".join(call)
    host.stand_in("docker", "echo 'Error: database is locked' >&2; exit 1")
    said = host.refused("grafana-password.sh", str(host.srv))
    assert said.startswith("Grafana did not take the password of its user admin: Error: database is locked;")
