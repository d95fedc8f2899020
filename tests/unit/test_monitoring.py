"""Monitoring: what may be said of it, what it makes, and what its rules and dashboards look like."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.host_settings import LocalHostSettings
from components.monitoring_settings import MonitoringSettings
from components.render import monitoring, monitoring_services, postgres
from components.render.service import service_text
from components.settings import ImageCatalogue, Settings, SettingsError, parse
from scripts.workstation.parts import Kind, part_of
from tests.unit.conftest import CANARIES, ROOT, run_program, stack_configuration
from tests.unit.recording_engine import Recording

CATALOGUE = json.loads((ROOT / "images.json").read_text(encoding="utf-8"))
ON = parse(Settings, {"host": {"kind": "local"}, "monitoring": {"enabled": True}}, where="")
OFF = Settings(host=LocalHostSettings(kind="local"))
SEVERITIES = {"critical", "warning"}
RULES = [
    pytest.param(rule, id=rule["alert"])
    for path in sorted(monitoring.RULES.glob("*.yml"))
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
BOARDS = [
    pytest.param(json.loads(path.read_text(encoding="utf-8")), path.stem, id=path.stem)
    for path in sorted(monitoring.DASHBOARDS.glob("*.json"))
]


def pinned(tmp_path: Path) -> str:
    """A catalogue in which somebody has pinned the images of monitoring."""
    known = {
        name: image
        if image["manifests"]
        else {
            **image,
            "manifests": {
                a: f"sha256:{hashlib.sha256(f'{name} {a}'.encode()).hexdigest()}" for a in ("amd64", "arm64")
            },
        }
        for name, image in CATALOGUE.items()
    }
    path = tmp_path / "images.json"
    path.write_text(json.dumps(known), encoding="utf-8")
    return str(path)


def run(tmp_path: Path, stack: str = "local", **said: Any) -> Recording:
    """The program with monitoring on."""
    plain = {"imageCatalogue": pinned(tmp_path), "monitoring": {"enabled": True, **said}}
    return run_program(stack, architecture="arm64", plain=plain)


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    recording = run(tmp_path_factory.mktemp("on"))
    assert recording.error is None
    return recording


# --- settings ---


def test_it_is_off_and_takes_no_memory_unless_somebody_says_so() -> None:
    assert (OFF.monitoring.total_memory, OFF.monitoring.images, OFF.monitoring.ports) == (0, (), {})


def test_its_memory_is_that_of_its_containers() -> None:
    for settings in (
        ON,
        parse(
            Settings, {"host": {"kind": "local"}, "monitoring": {"enabled": True, "grafana": False}}, where=""
        ),
    ):
        made = monitoring_services.monitoring_services(settings)
        assert settings.monitoring.total_memory == sum(service.memory for service in made)
        assert set(settings.monitoring.images) == {service.name for service in made}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"prometheusPort": 3000},
            "monitoring: prometheusPort and grafanaPort are both 3000; give each its own",
        ),
        (
            {"grafanaPort": 6432},
            "monitoring.grafanaPort 6432 is one of the databases' ports (5432, 6379, 6432); write another",
        ),
        ({"retentionDays": 0}, "monitoring.retentionDays is 0; it should be greater than or equal to 1"),
        ({"retention": 3}, "monitoring.retention is not a setting; did you mean retentionSize?"),
    ],
)
def test_a_fault_is_one_sentence(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(Settings, {"host": {"kind": "local"}, "monitoring": {"enabled": True, **said}}, where="")
    assert sentence in str(caught.value)


def test_a_machine_that_is_too_small_for_it_is_refused_with_the_sum() -> None:
    said = {"host": {**stack_configuration("prod")["host"], "memoryGib": 3}, "postgres": {"memory": 1600}}
    with pytest.raises(SettingsError) as caught:
        parse(Settings, {**said, "monitoring": {"enabled": True}}, where="")
    assert "postgres.memory 1600 + " in str(caught.value)
    assert " + the WAL receiver 64 + monitoring 704 + " in str(caught.value)
    assert parse(Settings, said, where="").monitoring.total_memory == 0


# --- images ---


def test_images_that_nobody_has_pinned_are_refused_with_the_command() -> None:
    recording = run_program(plain={"monitoring": {"enabled": True}})
    assert isinstance(recording.error, pulumi.RunError)
    names = "node-exporter, postgres-exporter, pgbouncer-exporter, redis-exporter, prometheus, grafana"
    unpinned = [name for name in names.split(", ") if not CATALOGUE[name]["manifests"]]
    assert (
        f"monitoring.enabled needs images that images.json does not pin ({', '.join(unpinned)}); run make pin-images"
        in str(recording.error)
    )


def test_a_catalogue_without_them_is_enough_for_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "images.json"
    path.write_text(json.dumps({name: CATALOGUE[name] for name in ("postgres", "redis", "pgbouncer")}))
    assert run_program(plain={"imageCatalogue": str(path)}).error is None
    assert isinstance(
        run_program(plain={"imageCatalogue": str(path), "monitoring": {"enabled": True}}).error,
        pulumi.RunError,
    )
    parsed = parse(ImageCatalogue, json.loads(path.read_text()), where="")
    with pytest.raises(SettingsError, match="no image grafana"):
        parsed.named("grafana")


def test_every_image_of_it_is_looked_at_before_it_runs(on: Recording) -> None:
    looked_at = on["platform-images"].inputs["create"]
    used = {container.inputs["image"] for container in on.containers}
    assert len(used) == 9
    assert all(image in looked_at for image in used)


# --- what is made ---


def test_only_the_two_pages_have_a_port_and_that_on_loopback(tmp_path: Path, on: Recording) -> None:
    # On a machine too, whose databases are published on its private address.
    on_machine = run(tmp_path, "prod")
    assert on_machine.error is None
    for recording in (on, on_machine):
        mine = {
            c.inputs["name"]: c.inputs.get("ports") or []
            for c in recording.containers
            if "-monitoring-" in c.name
        }
        published = {
            name: [(p["ip"], int(p["external"])) for p in ports] for name, ports in mine.items() if ports
        }
        assert published == {"prometheus": [("127.0.0.1", 9090)], "grafana": [("127.0.0.1", 3000)]}
        assert recording.exports["grafanaAddress"] == "127.0.0.1:3000"
        assert recording.exports["prometheusAddress"] == "127.0.0.1:9090"


def test_no_container_of_it_is_root_or_may_do_anything(on: Recording) -> None:
    mine = [c for c in on.containers if "-monitoring-" in c.name]
    assert len(mine) == 6
    for container in mine:
        assert container.inputs["user"] not in ("", "0", "root", "0:0")
        assert container.inputs["capabilities"] == {"drops": ["ALL"]}
        # Data and sockets apart, what it sees is not its own to write.
        writable = {v["containerPath"] for v in container.inputs["volumes"] if not v["readOnly"]}
        assert writable <= {"/prometheus", "/var/run/postgresql", "/var/run/pgbouncer"}
        assert all(v["hostPath"].startswith("/srv/") for v in container.inputs["volumes"])


def test_passwords_are_in_their_files_alone(on: Recording) -> None:
    derived = monitoring.redis_password(CANARIES["saltKey"])
    holding = {path for path, file in on.files.items() if derived in file.text}
    assert holding == {"/srv/config/monitoring/redis-exporter/passwords.json"}
    grafana = {path for path, file in on.files.items() if CANARIES["grafanaPassword"] in file.text}
    assert grafana == {"/srv/config/monitoring/grafana-secrets/admin-password", "/srv/config/platform.env"}
    for path in (*holding, *(grafana - {"/srv/config/platform.env"})):
        assert on.files[path].mode == "0400"


def test_without_grafana_nothing_of_it_is_made(tmp_path: Path) -> None:
    recording = run(tmp_path, grafana=False)
    assert recording.error is None
    assert not [
        r.name
        for r in recording.registrations
        if "grafana" in r.name or r.name == "platform-monitoring-password"
    ]
    assert not [path for path in recording.files if "/grafana" in path]


def test_a_missing_password_of_grafana_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(CANARIES, "grafanaPassword")
    assert "grafanaPassword is missing, with which Grafana's user admin logs in" in str(run(tmp_path).error)


def test_every_resource_of_it_has_a_word(on: Recording) -> None:
    found = {r.name: part_of(r.type, r.name) for r in on.registrations if "monitoring" in r.name}
    assert len(found) > 25
    assert [name for name, part in found.items() if part is None or not part.words] == []
    container = found["platform-monitoring-grafana-container"]
    assert container
    assert (container.kind, container.words, container.service) == (Kind.CONTAINER, "container grafana", None)


def test_a_changed_rule_replaces_the_store_and_a_changed_dashboard_nothing() -> None:
    store, boards = monitoring.store_files(ON.monitoring), monitoring.dashboard_files()
    assert monitoring.digest(store) != monitoring.digest({**store, "rules/services.yml": "groups: []\n"})
    assert not boards.keys() & monitoring.grafana_files(ON.monitoring).keys()
    other = MonitoringSettings(enabled=True, scrape_interval_seconds=60)
    assert monitoring.digest(monitoring.store_files(other)) != monitoring.digest(store)


@pytest.mark.parametrize("seconds", [5, 120])
def test_grafana_knows_how_often_the_store_asks(seconds: int) -> None:
    said = MonitoringSettings(enabled=True, scrape_interval_seconds=seconds)
    (source,) = yaml.safe_load(monitoring.datasources_yml(said))["datasources"]
    assert source["jsonData"] == {"timeInterval": f"{seconds}s"}


# --- texts ---


def test_the_texts_are_the_golden_ones(golden: Any) -> None:
    services = monitoring_services.monitoring_services(ON)
    texts = {
        "prometheus.yml": monitoring.prometheus_yml(ON.monitoring),
        "grafana.ini": monitoring.grafana_ini(),
        "role-on.sql": monitoring.role_sql(enabled=True),
        "role-off.sql": monitoring.role_sql(enabled=False),
        "pg_hba.conf": postgres.pg_hba_conf(ON),
        "monitoring.env": monitoring.monitoring_env(ON.monitoring),
        **{
            f"service-{service.name}.yml": service_text(service, f"{service.name}@sha256:{'1' * 64}")
            for service in services
        },
    }
    for name, text in texts.items():
        assert text.endswith("\n")
        golden(f"monitoring/{name}", text)


def test_nobody_but_the_exporters_user_on_the_socket_is_the_role() -> None:
    lines = [line.split() for line in postgres.pg_hba_conf(ON).splitlines() if monitoring.ROLE in line]
    assert lines == [
        ["local", "postgres", monitoring.ROLE, "peer", "map=monitor"],
        ["local", "all", monitoring.ROLE, "reject"],
        ["host", "all", monitoring.ROLE, "all", "reject"],
    ]
    assert monitoring.ROLE not in postgres.pg_hba_conf(OFF) + postgres.pg_ident_conf()
    assert [
        line.split()
        for line in postgres.pg_ident_conf(monitored=True).splitlines()
        if monitoring.ROLE in line
    ] == [["monitor", "nobody", monitoring.ROLE]]


# --- rules ---


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_how_bad_it_is_and_one_sentence_that_status_can_read(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert set(rule["labels"]) <= {"severity", "check"}
    assert rule["labels"]["severity"] in SEVERITIES
    (summary,) = rule["annotations"].values()
    assert not re.search(r'["\\\n]', summary)


def test_there_are_rules_for_all_that_was_asked_for() -> None:
    names = " ".join(p.values[0]["alert"] for p in RULES)  # type: ignore[index]
    for part in (
        *(
            "PostgresDown",
            "PgbouncerDown",
            "RedisDown",
            "SlotBehind",
            "SlotLost",
            "Connections",
            "LongTransaction",
            "Bloat",
        ),
        *(
            "Wraparound",
            "CacheMisses",
            "PgbouncerWaiting",
            "RedisEvictions",
            "RedisMemory",
            "DiskFull",
            "BackupOld",
        ),
        *("DrillOld", "TaskFailed", "CertificateEnds", "WaiverEnds"),
    ):
        assert part in names


def test_every_rule_is_in_the_operators_table() -> None:
    page = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert [p.values[0]["alert"] for p in RULES if f"| {p.values[0]['alert']} |" not in page] == []  # type: ignore[index]


# --- dashboards ---


@pytest.mark.parametrize(("board", "name"), BOARDS)
def test_a_dashboard_is_a_file_that_grafana_takes_as_it_is(board: dict[str, Any], name: str) -> None:
    assert board["uid"] == f"platform-{name}"
    # Grafana gives these itself; one that stands in a file belongs to somebody else's database.
    assert not {"id", "version"} & board.keys()
    assert board["editable"] is False
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["targets"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source == {"type": "prometheus", "uid": monitoring.DATASOURCE_UID}
        assert all(target["expr"] and "legendFormat" in target for target in panel["targets"])


@pytest.mark.parametrize(("board", "name"), BOARDS)
def test_no_two_panels_overlap(board: dict[str, Any], name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & mine, (name, panel["title"])
        taken |= mine


@pytest.mark.parametrize("name", [p.values[1] for p in BOARDS])
def test_the_manual_shows_a_picture_of_each_dashboard(name: str) -> None:
    page = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert f"](monitoring/{name}.png)" in page
    picture = (ROOT / f"docs/monitoring/{name}.png").read_bytes()
    # A PNG's first chunk begins with its width (RFC 2083, 4.1.1).
    assert (picture[:8], int.from_bytes(picture[16:20])) == (b"\x89PNG\r\n\x1a\n", 1400)
    assert len(picture) < 200_000


def test_the_viewer_is_locked_without_the_address_of_a_registry() -> None:
    """Whoever installs it has a registry of their own, or the public one."""
    folder = ROOT / "sandbox/dashboards"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert locked[""]["dependencies"] == wanted
    assert [name for name, package in locked.items() if "resolved" in package] == []
    assert [
        name for name, version in wanted.items() if locked[f"node_modules/{name}"]["version"] != version
    ] == []


def test_there_is_a_dashboard_for_each_part() -> None:
    assert {p.values[1] for p in BOARDS} == {"overview", "postgres", "pgbouncer", "redis", "host", "backups"}
    assert monitoring.DATASOURCE_UID in monitoring.datasources_yml(ON.monitoring)
    assert (
        yaml.safe_load(monitoring.dashboards_yml())["providers"][0]["options"]["path"]
        == "/etc/grafana/dashboards"
    )
