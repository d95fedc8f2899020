"""Another image or another start setting: the container is replaced, and clients see little or nothing of it. Another major version:
the data move to it, and back.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation

from tests.engine.platform import CHECKOUT, CONTAINERS, Platform
from tests.engine.steady_client import DATABASE, TABLE, SteadyRedis, SteadySql, errors, longest, working
from tests.waiting import until

pytestmark = pytest.mark.late

POOLED = 6
# What a client of the pooler may wait; query_wait_timeout ends it after 30 s. The tests' machine has other work too.
PATIENCE = 20
PROGRAM_SECONDS = 400


@pytest.fixture
def table(platform: Platform) -> Platform:
    """With an empty place for what clients write."""
    made = f"SET ROLE librarian_owner; DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (client text, number int)"
    platform.psql(made, database=DATABASE)
    platform.redis().delete("steady-redis")
    return platform


def _pooled(name: str, platform: Platform) -> list[SteadySql]:
    return [SteadySql(f"{name}-{number}", platform) for number in range(POOLED)]


def _logs(platform: Platform, container: str) -> str:
    ran = platform.run(["docker", "logs", container])
    return ran.stdout + ran.stderr


# --- the same major version ---


def _next(platform: Platform) -> dict[str, Any]:
    """Settings with an image of PostgreSQL that has another digest; another size where there is no such catalogue."""
    catalogue = Path(platform.config["imageCatalogue"]).with_suffix(".next.json")
    if catalogue.exists():
        return {"imageCatalogue": str(catalogue)}
    return {"postgres": {"memory": 576, "port": 5432}}


def test_clients_while_containers_are_replaced(table: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    """PostgreSQL and Redis by one `up`, then PgBouncer by another."""
    with table.changed(**_next(table), redis={"maxmemory": 128}):
        first = _postgresql_and_redis(table)
        with table.changed(pgbouncer={"memory": 96}):
            then = _pgbouncer(table)
    with capsys.disabled():
        print(f"\n{first}; {then}")


def _postgresql_and_redis(platform: Platform) -> str:
    before, redis = platform.ids(), SteadyRedis("steady-redis", platform)
    pooled, direct = _pooled("first", platform), SteadySql("direct", platform, pooled=False)
    with working([*pooled, direct, redis]):
        platform.up()
    now = platform.ids()
    assert now["postgres-db"] != before["postgres-db"]
    assert now["redis-cache"] != before["redis-cache"]
    assert now["pgbouncer"] == before["pgbouncer"]
    # They have waited, and that is all.
    assert errors(pooled) == []
    assert longest(pooled) < PATIENCE
    assert [client.kept() for client in pooled] == [client.done for client in pooled]
    # Who has no pooler sees the restart, connects again and finds all that was promised; redis-py does it by itself.
    assert direct.errors
    for client in (direct, redis):
        assert client.longest < PATIENCE
        assert client.kept() >= client.done
    logs = _logs(platform, "postgres-db")
    assert "database system was shut down at" in logs
    assert "was interrupted" not in logs
    return (
        f"PostgreSQL replaced under {POOLED} clients of the pooler: the longest wait {longest(pooled):.2f} s; past it served again "
        f"after {direct.longest:.2f} s; Redis after {redis.longest:.2f} s"
    )


def _pgbouncer(platform: Platform) -> str:
    before, pooled = platform.ids(), _pooled("second", platform)
    with working(pooled):
        platform.up()
    now = platform.ids()
    assert {name for name in now if now[name] != before[name]} == {"pgbouncer"}
    # Their connections end, and what was begun is finished or was never done.
    assert all(client.errors for client in pooled)
    assert longest(pooled) < PATIENCE
    for client in pooled:
        assert client.kept() >= client.done
    return f"PgBouncer replaced: served again after {longest(pooled):.2f} s"


# Over the network, and over the socket.
@pytest.mark.parametrize(
    "who", ["platform_admin in database postgres", "librarian_user in database librarian"]
)
def test_a_long_transaction_is_named_and_nothing_is_replaced(platform: Platform, who: str) -> None:
    before = platform.ids()
    password = platform.application_secrets["librarian"]["database"] if "librarian" in who else None
    with (
        platform.connect(user=who.split()[0], password=password, database=who.split()[-1]) as busy,
        platform.changed(postgres={"memory": 600}, pgbouncer={"pauseSeconds": 1}),
    ):
        with busy.transaction():
            busy.execute("SELECT 1")
            with pytest.raises(automation.CommandError) as failed:
                platform.up()
        assert "PostgreSQL was not replaced, and clients went on" in str(failed.value)
        assert who in str(failed.value)
        assert platform.ids()["postgres-db"] == before["postgres-db"]
        # The transaction was not touched, and nobody is held back.
        assert busy.execute("SELECT 1").fetchone() == (1,)
        with platform.connect() as other:
            assert other.execute("SELECT 1").fetchone() == (1,)


def test_clients_go_on_when_up_is_killed_while_they_are_held_back(platform: Platform) -> None:
    """kill -9 of the script, as it is where somebody kills `up`: a process of its own lets them go on."""
    script = platform.project / "scripts/host/hold-clients.sh"

    def paused() -> int:
        return _logs(platform, "pgbouncer").count("got SIGUSR1")

    before = paused()
    with platform.connect() as busy, platform.connect() as waiting:
        with busy.transaction():
            busy.execute("SELECT 1")
            process = subprocess.Popen(
                ["sh", str(script), "another hash", "1", "cut"],
                env=platform.environment,
                start_new_session=True,
            )
            until(lambda: paused() > before, seconds=30, what="PgBouncer is paused")
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        began = time.monotonic()
        # It is served in the end: query_wait_timeout is longer.
        assert waiting.execute("SELECT 1").fetchone() == (1,)
        assert time.monotonic() - began > 1


# --- another major version ---


@pytest.fixture(scope="module")
def majors(tmp_path_factory: pytest.TempPathFactory, catalogue: Path) -> Path:
    """A catalogue with the next major versions of PostgreSQL and Redis; CDP_TEST_MAJORS names another one's file."""
    given = os.environ.get("CDP_TEST_MAJORS")
    path = Path(given) if given else tmp_path_factory.mktemp("majors") / "majors.json"
    if not given:
        # Where package mirrors and the registry that takes images are.
        outside = os.environ.get("CDP_TEST_OUTSIDE")
        enter = ["nsenter", f"--net={outside}"] if outside else []
        built = subprocess.run(
            [*enter, "sh", str(CHECKOUT / "sandbox/images/majors.sh"), str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_SECONDS,
        )
        assert built.returncode == 0, built.stdout + built.stderr
    both, mine = json.loads(path.read_text()), json.loads(catalogue.read_text())
    path = path.with_name("images.json")
    path.write_text(json.dumps(mine | {"postgres": both["postgres-18"], "redis": both["redis-8"]}))
    return path


def _image(catalogue: Path, name: str) -> str:
    image = json.loads(catalogue.read_text())[name]
    (digest,) = image["manifests"].values()
    return f"{image['repository']}@{digest}"


def _script(platform: Platform, service: str, *words: str) -> str:
    return platform.run([str(platform.srv / f"apps/upgrade-{service}.sh"), *words]).stdout


def _rows(platform: Platform) -> str:
    """What must be the same before and after, of an application's tables with an extension, a sequence and a large object."""
    return platform.psql(
        "SELECT (SELECT md5(string_agg(word || number, ',' ORDER BY number)) FROM words), (SELECT last_value FROM words_number_seq), "
        "(SELECT count(*) FROM words WHERE word % 'word 77'), (SELECT md5(lo_get(loid)) FROM kept_object), "
        "(SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension), "
        "(SELECT format('%s %s', datcollate, datlocprovider) FROM pg_database WHERE datname = current_database()), "
        "(SELECT count(*) FROM pg_roles WHERE rolname ~ 'librarian|reporting|platform'), current_setting('data_checksums')",
        "librarian",
    )


@pytest.fixture
def filled(platform: Platform) -> Platform:
    """With rows to compare."""
    platform.psql(
        "DROP TABLE IF EXISTS words, kept_object; "
        "CREATE TABLE words (number serial PRIMARY KEY, word text); "
        "INSERT INTO words (word) SELECT 'word ' || n FROM generate_series(1, 5000) n; "
        "CREATE INDEX ON words USING gin (word gin_trgm_ops); "
        "CREATE TABLE kept_object AS SELECT lo_from_bytea(0, decode(repeat('beef', 5000), 'hex')) AS loid",
        "librarian",
    )
    client = platform.redis()
    client.set("kept", "here")
    client.delete("later")
    return platform


def _healthy(platform: Platform) -> None:
    for container in CONTAINERS:
        until(lambda name=container: platform.healthy(name), seconds=120, what=f"{container} healthy")


def test_a_rehearsal_leaves_all_as_it_is(filled: Platform, majors: Path) -> None:
    platform, image = filled, _image(majors, "postgres")

    def everything() -> tuple[str, dict[str, str], list[str], str]:
        files = sorted(path.name for path in (platform.srv / "data").iterdir())
        return (
            _rows(platform),
            platform.ids(),
            files,
            platform.docker("ps", "--all", "--format", "{{.Names}}"),
        )

    before = everything()
    said = _script(platform, "postgres", "rehearse", image)
    assert re.search(r"the rehearsal went well: from PostgreSQL 17 to 18 in \d+ s", said), said
    assert everything() == before
    # What pg_upgrade does not take is named, with its table, before anything is stopped.
    platform.psql("CREATE TABLE not_taken (program regproc)", "librarian")
    try:
        ran = platform.run([str(platform.srv / "apps/upgrade-postgres.sh"), "rehearse", image], check=False)
    finally:
        platform.psql("DROP TABLE not_taken", "librarian")
    assert ran.returncode
    assert "not_taken.program" in ran.stdout + ran.stderr
    assert everything() == before


def test_the_next_major_version_and_back(
    filled: Platform, majors: Path, catalogue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    platform, srv = filled, filled.srv
    before, ids = _rows(platform), platform.ids()
    compose = (srv / "apps/postgres-stack/docker-compose.yml").read_text()
    new = {name: _image(majors, name) for name in ("postgres", "redis")}
    old = {name: _image(catalogue, name) for name in ("postgres", "redis")}

    # `up` alone refuses, and has changed nothing.
    with platform.changed(imageCatalogue=str(majors)):
        with pytest.raises(automation.CommandError, match="make upgrade-postgres ARGS='switch --yes'"):
            platform.up()
        assert platform.ids() == ids
        assert (srv / "apps/postgres-stack/docker-compose.yml").read_text() == compose

        _killed_half_way(platform, new["postgres"])
        assert _rows(platform) == before

        began = time.monotonic()
        said = _script(platform, "postgres", "switch", new["postgres"], "--yes")
        said += _script(platform, "redis", "switch", new["redis"], "--yes")
        platform.up()
        took = time.monotonic() - began
        _healthy(platform)
        with capsys.disabled():
            print(f"\n{said}switch of both and up: {took:.0f} s")
        assert platform.psql("SHOW server_version").startswith("18")
        assert _rows(platform) == before
        assert (
            platform.psql(
                "SELECT count(*) FROM pg_extension JOIN pg_available_extensions ON name = extname WHERE installed_version <> default_version"
            )
            == "0"
        )
        with platform.connect() as client:
            client.execute("CREATE TABLE IF NOT EXISTS later AS SELECT 1 AS n")
        info = platform.redis().info()
        assert str(info["redis_version"]).startswith("8.")  # type: ignore[index]
        assert platform.redis().get("kept") == b"here"
        platform.redis().set("later", "1")
        _script(platform, "postgres", "finish")
        (base,) = (path for path in (srv / "backups/base").iterdir() if path.name[0] != ".")
        assert (base / "data/PG_VERSION").read_text() == "18\n"
        assert platform.up().operations() == {}

    # And back, to the data as they were.
    with pytest.raises(automation.CommandError, match="make upgrade-postgres ARGS='back --yes'"):
        platform.up()
    _script(platform, "postgres", "back", old["postgres"], "--yes")
    _script(platform, "redis", "back", old["redis"], "--yes")
    platform.up()
    _healthy(platform)
    assert platform.psql("SHOW server_version").startswith("17")
    assert _rows(platform) == before
    with pytest.raises(AssertionError, match="later"):
        platform.psql("SELECT n FROM later")
    assert platform.redis().get("kept") == b"here"
    assert platform.redis().get("later") is None
    for service in new:
        _script(platform, service, "drop", "--yes")
    left = {path.name for path in (srv / "data").iterdir()}
    assert left == {"postgres", "postgres.locale", "redis"}
    _script(platform, "postgres", "finish")


def _killed_half_way(platform: Platform, image: str) -> None:
    """kill -9 while PostgreSQL is stopped and its data are being upgraded: all is as before, by itself."""
    words = [str(platform.srv / "apps/upgrade-postgres.sh"), "switch", image, "--yes"]
    process = subprocess.Popen(
        words, env=platform.environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    until(
        lambda: (platform.srv / "data/.postgres-upgrade-work/programs").exists(),
        seconds=PROGRAM_SECONDS,
        what="the upgrade is under way",
    )
    assert not platform.healthy("postgres-db")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: platform.healthy("postgres-db"), seconds=120, what="PostgreSQL is back")
    until(
        lambda: not (platform.srv / "data/.postgres-upgrade-work").exists(),
        seconds=60,
        what="nothing is left",
    )
    with platform.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    _healthy(platform)
