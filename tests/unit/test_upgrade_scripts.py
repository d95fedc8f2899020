"""Upgrades: clients are held back, images that do not fit the data are refused, and data change places wholly or not at all."""

import shutil
import time
from pathlib import Path

import pytest

from tests.unit.recording_engine import Recording
from tests.unit.scripted_host import SCRIPTS, Host

# PostgreSQL's container as a folder of facts, and PgBouncer's as what it was told.
DOCKER = """
facts=$(dirname "$0")/../facts
case "$*" in
  "container inspect --format {{.State.Running}} "*) [ -e "$facts/$5" ] && echo true ;;
  *config-hash*) cat "$facts/hash" ;;
  *Networks*) echo 172.28.0.2 ;;
  *StartedAt*) cat "$facts/postgres-db" ;;
  *data_directory*) [ ! -e "$facts/refusal" ] || { cat "$facts/refusal" >&2; exit 1; } ;;
  *CHECKPOINT*) ;;
  *"count(*)"*) cat "$facts/through" ;;
  *usename*) echo "reporting in database reporting, for 99 s, pid 42" ;;
  *USR1*) touch "$facts/paused" ;;
  *USR2*) rm -f "$facts/paused" ;;
  *pg_isready*) [ -e "$facts/postgres-db" ] ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.stand_in("docker", DOCKER)
    facts = tmp_path / "facts"
    facts.mkdir()
    (facts / "postgres-db").write_text("old 12:00 true\n")
    (facts / "pgbouncer").touch()
    (facts / "hash").write_text("before\n")
    (facts / "through").write_text("0\n")
    return made


def _paused(host: Host) -> bool:
    return (host.folder / "facts/paused").exists()


def _until_resumed(host: Host) -> float:
    began = time.monotonic()
    while _paused(host):
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    return time.monotonic() - began


# --- holding clients back ---


def test_clients_wait_until_the_new_server_answers(host: Host) -> None:
    assert host.must("hold-clients.sh", "after", "5", "refuse") == ""
    facts = host.folder / "facts"
    (facts / "postgres-db").unlink()
    time.sleep(0.6)
    assert _paused(host)
    (facts / "postgres-db").write_text("new 12:01 true\n")
    assert _until_resumed(host) < 5
    asked = [" ".join(call) for call in host.calls("docker")]
    orders = [word for call in asked for word in ("CHECKPOINT", "USR1", "USR2") if word in call]
    assert orders == ["CHECKPOINT", "USR1", "USR2"]


def _hurry(host: Host) -> None:
    """Time goes twenty times as fast."""
    host.stand_in(
        "date", 'case $1 in +%s) echo "$(($(/bin/date +%s) * 20))" ;; *) exec /bin/date "$@" ;; esac'
    )


def test_clients_go_on_when_nobody_replaces_the_server(host: Host) -> None:
    """Whoever wanted to was killed."""
    _hurry(host)
    host.must("hold-clients.sh", "after", "5", "refuse")
    assert _paused(host)
    _until_resumed(host)


@pytest.mark.parametrize("missing", ["postgres-db", "pgbouncer"])
def test_nobody_is_held_back_where_there_is_nobody(host: Host, missing: str) -> None:
    (host.folder / "facts" / missing).unlink()
    host.must("hold-clients.sh", "after", "5", "refuse")
    assert not any("USR1" in " ".join(call) for call in host.calls("docker"))


def test_nobody_is_held_back_for_a_container_that_stays(host: Host) -> None:
    host.must("hold-clients.sh", "before", "5", "refuse")
    assert not any("USR1" in " ".join(call) for call in host.calls("docker"))


@pytest.mark.parametrize(
    "during", ["config-hash", "data_directory", "CHECKPOINT", "Networks", "StartedAt", "USR1", "count(*)"]
)
def test_both_may_be_taken_away_at_any_moment(host: Host, during: str) -> None:
    """By a replacement of the network, which takes all containers away before any is made again."""
    _hurry(host)
    taken = (
        'facts=$(dirname "$0")/../facts\n'
        f'case "$*" in *"{during}"*) rm -f "$facts/postgres-db" "$facts/pgbouncer" ;; esac\n'
        '[ -e "$facts/postgres-db" ] || { echo "Error response from daemon: No such container" >&2; exit 1; }\n'
    )
    host.stand_in("docker", taken + DOCKER)
    ran = host.run("hold-clients.sh", "after", "5", "refuse")
    assert ran.returncode == 0, ran.stderr
    assert during in str(host.calls("docker"))


def test_a_pooler_that_cannot_be_told_is_a_reason_to_replace_nothing(host: Host) -> None:
    host.stand_in("docker", 'case "$*" in *USR1*) echo "exec failed" >&2; exit 1 ;; esac\n' + DOCKER)
    sentence = host.refused("hold-clients.sh", "after", "5", "refuse")
    assert (
        "was not replaced, and clients went on: PgBouncer cannot be told to hold them back: exec failed;"
        in sentence
    )


def test_a_server_is_not_replaced_by_one_that_could_not_start(host: Host) -> None:
    facts = host.folder / "facts"
    (facts / "refusal").write_text(
        '2026-11-30 06:00:00 UTC [9] LOG:  invalid value for parameter "work_mem": "much"\n'
        '2026-11-30 06:00:00 UTC [9] FATAL:  configuration file "x" contains errors\n'
    )
    # With nobody to hold back, too.
    for _ in range(2):
        assert host.refused("hold-clients.sh", "after", "5", "refuse") == (
            'PostgreSQL was not replaced, and goes on: it refuses its new configuration (invalid value for parameter "work_mem": "much"); '
            "correct central-data-platform:postgres.parameters, then run up again"
        )
        assert not any("USR1" in " ".join(call) for call in host.calls("docker"))
        (facts / "pgbouncer").unlink(missing_ok=True)


def test_a_transaction_that_does_not_end_is_named_and_clients_go_on(host: Host) -> None:
    (host.folder / "facts/through").write_text("1\n")
    sentence = host.refused("hold-clients.sh", "after", "1", "refuse")
    assert "was not replaced" in sentence
    assert "within 1 s (reporting in database reporting, for 99 s, pid 42)" in sentence
    assert "pgbouncer.whenBusy to cut" in sentence
    assert not _paused(host)


def test_a_transaction_that_does_not_end_is_cut_where_that_is_said(host: Host) -> None:
    (host.folder / "facts/through").write_text("1\n")
    host.must("hold-clients.sh", "after", "1", "cut")
    assert _paused(host)
    (host.folder / "facts/postgres-db").write_text("new 12:01 true\n")
    _until_resumed(host)


def test_the_server_is_replaced_after_its_clients_are_held_back(local: Recording) -> None:
    hold = local["platform-postgres-hold"]
    container = local["platform-postgres-container"]
    depends = set(container.request.dependencies)
    assert any(urn.endswith("::platform-postgres-hold") for urn in depends)
    # All else is done by then: clients wait for nothing but the replacement.
    others = {urn for urn in depends if not urn.endswith("::platform-postgres-hold")}
    assert {urn for urn in others if "Command" in urn} <= set(hold.request.dependencies)


# --- images and data ---

VERSIONS = """
case "$*" in
  *pg17*) echo "postgres (PostgreSQL) 17.12 (Debian 17.12-1)" ;;
  *pg18*) echo "postgres (PostgreSQL) 18.6" ;;
  *redis7*) echo "Redis server v=7.2.16 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1" ;;
  *redis8*) echo "Redis server v=8.0.2 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64 build=2" ;;
  *) echo "manifest unknown" >&2; exit 125 ;;
esac
"""


def _data(host: Host, *, postgres: str = "17", redis: str = "7.2.16") -> None:
    host.stand_in("docker", VERSIONS)
    (host.srv / "data/postgres").mkdir(parents=True)
    (host.srv / "data/postgres/PG_VERSION").write_text(f"{postgres}\n")
    aof = host.srv / "data/redis/appendonlydir"
    aof.mkdir(parents=True)
    head = b"REDIS0011\xfa\tredis-ver" + bytes([len(redis)]) + redis.encode() + b"\xfa\nredis-bits\xc0@"
    (aof / "appendonly.aof.1.base.rdb").write_bytes(head)


def test_images_of_the_same_major_version_fit(host: Host) -> None:
    _data(host, redis="7.0.15")
    assert host.must("check-data-versions.sh", str(host.srv), "pg17", "redis7") == ""


def test_an_empty_host_takes_any(host: Host) -> None:
    host.stand_in("docker", "exit 1")
    assert host.must("check-data-versions.sh", str(host.srv), "pg18", "redis8") == ""


@pytest.mark.parametrize(
    ("data", "images", "said"),
    [
        (
            {},
            ("pg18", "redis7"),
            ("is of PostgreSQL 17 and the image is 18", "upgrade-postgres ARGS='switch --yes'"),
        ),
        ({"postgres": "18"}, ("pg17", "redis7"), ("cannot read it", "upgrade-postgres ARGS='back --yes'")),
        (
            {},
            ("pg17", "redis8"),
            ("is of Redis 7.2 and the image is 8.0", "upgrade-redis ARGS='switch --yes'"),
        ),
        ({"redis": "8.0.2"}, ("pg17", "redis7"), ("cannot read it", "upgrade-redis ARGS='back --yes'")),
        ({"redis": "7.4.1"}, ("pg17", "redis7"), ("is of Redis 7.4 and the image is 7.2", "cannot read it")),
        ({}, ("nothing", "redis7"), ("image nothing does not run: manifest unknown",)),
    ],
)
def test_images_that_do_not_fit_are_refused(
    host: Host, data: dict[str, str], images: tuple[str, str], said: tuple[str, ...]
) -> None:
    _data(host, **data)
    sentence = host.refused("check-data-versions.sh", str(host.srv), *images)
    for part in said:
        assert part in sentence


def test_nothing_that_names_an_image_is_written_before_that_is_known(local: Recording) -> None:
    for name in ("platform-compose", "platform-backups-settings", "platform-postgres-cluster"):
        assert any(urn.endswith("::platform-versions") for urn in local[name].request.dependencies), name


# --- data that change places ---

EXCHANGE = """
set -eu
srv=$1 backups=$1/backups tab=$(printf '\\t')
. "$2/backup.d/exchange.sh"
shift 2
"$@"
"""


class Places:
    """A platform's folders, each with a file that says what it is."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.program = host.folder / "exchange-test.sh"
        self.program.write_text(EXCHANGE)
        for place in ("data/postgres", "backups/base", "backups/wal"):
            self.put(place, "old")
        for place in (
            "data/.postgres-upgrade",
            "backups/.postgres-upgrade/base",
            "backups/.postgres-upgrade/wal",
        ):
            self.put(place, "new")

    def put(self, place: str, what: str) -> None:
        folder = self.host.srv / place
        folder.mkdir(parents=True)
        (folder / what).touch()

    def seen(self) -> dict[str, str]:
        root = self.host.srv
        found = (path for path in root.rglob("*") if path.name in ("old", "new"))
        return {str(path.parent.relative_to(root)): path.name for path in found}

    def do(self, *words: str) -> int:
        return self.host.run(self.program, str(self.host.srv), str(SCRIPTS), *words).returncode


@pytest.fixture
def places(host: Host) -> Places:
    return Places(host)


AFTER = {
    "data/postgres": "new",
    "backups/base": "new",
    "backups/wal": "new",
    "data/postgres-17": "old",
    "backups/postgres-17/base": "old",
    "backups/postgres-17/wal": "old",
}


def test_data_base_backups_and_wal_change_places_together(places: Places) -> None:
    assert places.do("exchange", "postgres", "postgres-17", ".postgres-upgrade") == 0
    assert places.seen() == AFTER
    assert places.do("settled", "postgres") == 0
    assert places.seen() == AFTER
    assert not (places.host.srv / "data/.postgres-exchange").exists()
    assert not (places.host.srv / "backups/.postgres-upgrade").exists()


@pytest.mark.parametrize("renames", range(7))
def test_an_exchange_is_taken_back_however_far_it_came(places: Places, renames: int) -> None:
    before = places.seen()
    count = places.host.folder / "count"
    count.write_text("0")
    # The rename of the marker itself is the first.
    places.host.stand_in(
        "mv",
        f'n=$(($(cat "{count}") + 1)); echo "$n" >"{count}"; [ "$n" -le {renames + 1} ] || kill -9 "$PPID"; exec {shutil.which("mv")} "$@"',
    )
    done = places.do("exchange", "postgres", "postgres-17", ".postgres-upgrade")
    assert (done == 0) == (renames == 6)
    assert (places.host.srv / "data/.postgres-exchange").exists()
    (places.host.commands / "mv").unlink()
    assert places.do("take_back", "postgres") == 0
    assert places.seen() == before
    assert not (places.host.srv / "data/.postgres-exchange").exists()


# --- what is refused before anything is stopped ---

FITS = """
case "$*" in
  *--version*) case "$*" in *pg18*) echo "postgres (PostgreSQL) 18.6" ;; *pg17*) echo "postgres (PostgreSQL) 17.12" ;;
    *redis8*) echo "Redis server v=8.0.2 sha=0" ;; *redis7*) echo "Redis server v=7.2.16 sha=0" ;; esac ;;
esac
"""


@pytest.fixture
def installed(host: Host) -> Host:
    """Everybody is root, the scripts are in srvRoot/apps, the data are of PostgreSQL 17 and Redis 7.2."""
    _data(host)
    host.stand_in("docker", FITS)
    host.stand_in("id", "echo 0")
    host.stand_in("logger")
    for script in (
        "upgrade-postgres.sh",
        "upgrade-redis.sh",
        "backup.d/common.sh",
        "backup.d/dumps.sh",
        "backup.d/exchange.sh",
    ):
        target = host.srv / "apps" / script
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPTS / script, target)
    for folder in ("config/backup", "backups", "run"):
        (host.srv / folder).mkdir(parents=True)
    (host.srv / "config/backup/backup.env").write_text("POSTGRES_IMAGE=pg17\nREDIS_IMAGE=redis7\n")
    return host


def _stopped(host: Host) -> bool:
    return any(call[0] in ("stop", "rm", "start") for call in host.calls("docker") if call)


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("upgrade-postgres.sh", ("switch", "pg18"), "nothing was begun: say switch IMAGE --yes"),
        ("upgrade-postgres.sh", ("switch", "pg17", "--yes"), "that is no step upwards"),
        ("upgrade-postgres.sh", ("switch", "none", "--yes"), "image none holds no PostgreSQL"),
        ("upgrade-postgres.sh", ("rehearse", "pg17"), "that is no step upwards"),
        (
            "upgrade-postgres.sh",
            ("back", "pg17", "--yes"),
            "put the former version's image back into images.json",
        ),
        ("upgrade-postgres.sh", ("back", "pg18", "--yes"), "there are no data of PostgreSQL 18"),
        ("upgrade-postgres.sh", ("drop", "--yes"), "there are no data of another version"),
        ("upgrade-redis.sh", ("back", "redis7"), "nothing was begun: say back IMAGE --yes"),
        ("upgrade-redis.sh", ("switch", "redis7", "--yes"), "put another version's image into images.json"),
        ("upgrade-redis.sh", ("back", "redis8", "--yes"), "there are no data of Redis 8.0"),
        ("upgrade-redis.sh", ("drop", "--yes"), "there are no data of another version"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stopped(
    installed: Host, script: str, words: tuple[str, ...], said: str
) -> None:
    assert said in installed.refused(installed.srv / "apps" / script, *words)
    assert not _stopped(installed)


def test_a_former_version_that_is_still_kept_is_not_written_over(installed: Host) -> None:
    (installed.srv / "data/postgres-17").mkdir()
    assert "postgres-17 is there from an upgrade before" in installed.refused(
        installed.srv / "apps/upgrade-postgres.sh", "switch", "pg18", "--yes"
    )
    (installed.srv / "data/redis-7.2").mkdir()
    assert "redis-7.2 is there from an upgrade before" in installed.refused(
        installed.srv / "apps/upgrade-redis.sh", "switch", "redis8", "--yes"
    )
    assert not _stopped(installed)


def test_only_what_is_kept_of_other_versions_is_dropped(installed: Host) -> None:
    for folder in (
        "data/postgres-17",
        "data/postgres-18-left",
        "backups/postgres-17/wal",
        "data/redis-7.2",
        "data/redis-8.0-left",
        "data/postgres-pitr",
        "data/postgres-17.copy",
        "data/redis-7.2 of mine",
    ):
        (installed.srv / folder).mkdir(parents=True)
    assert "removed:" in installed.must(installed.srv / "apps/upgrade-postgres.sh", "drop", "--yes")
    assert "removed:" in installed.must(installed.srv / "apps/upgrade-redis.sh", "drop", "--yes")
    assert sorted(path.name for path in (installed.srv / "data").iterdir()) == [
        "postgres",
        "postgres-17.copy",
        "postgres-pitr",
        "redis",
        "redis-7.2 of mine",
    ]
    assert list((installed.srv / "backups").iterdir()) == []


def test_a_switch_that_was_cut_off_is_taken_back(installed: Host) -> None:
    """The machine went down while folders were changing places: backup.d/wal.sh says settle."""
    data, backups = installed.srv / "data", installed.srv / "backups"
    (data / "postgres").rename(data / "postgres-17")
    for folder in ("base", "wal"):
        (backups / folder).mkdir()
    (data / ".postgres-exchange").write_text("postgres-17 .postgres-upgrade\n")
    (data / ".postgres-upgrade").mkdir()
    said = installed.must(installed.srv / "apps/upgrade-postgres.sh", "settle")
    assert "the data of PostgreSQL are those from before it" in said
    assert sorted(path.name for path in data.iterdir()) == ["postgres", "redis"]
    assert (data / "postgres/PG_VERSION").read_text() == "17\n"
    started = [call[1] for call in installed.calls("docker") if call[0] == "start"]
    assert started == ["postgres-db", "postgres-wal"]
    assert installed.must(installed.srv / "apps/upgrade-postgres.sh", "settle") == ""
