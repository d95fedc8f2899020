"""Tuning on the real servers: they know every name, take every value, and give it back."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pulumi import automation

from components import native_names
from components.host_settings import LocalHostSettings
from components.render.pgbouncer import pgbouncer_ini
from components.render.postgres import parameters, postgresql_conf
from components.render.redis import redis_conf, running_settings
from components.settings import Settings
from components.tuning import kib
from tests.engine.platform import Platform
from tests.waiting import until

Docker = Callable[..., str]

# Processors and GiB; the last is more than this workstation has, so its values are only read.
SMALL, MIDDLE, LARGE = (1, 1), (4, 8), (80, 512)


def of(shape: tuple[int, int], **tuning: Any) -> Settings:
    cpus, gib = shape
    host = LocalHostSettings(kind="local", cpus=cpus, memory_gib=gib, disk_gib=200)
    return Settings.model_validate({"host": host, "tuning": tuning})


@pytest.fixture(scope="module")
def docker(docker_host: str) -> Docker:
    def call(*words: str, stdin: str | None = None) -> str:
        ran = subprocess.run(
            ["docker", "--host", docker_host, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout.strip()

    return call


@pytest.fixture(scope="module")
def image(catalogue: Path, docker: Docker) -> Callable[[str], str]:
    """The image of a service for this engine."""
    known = json.loads(catalogue.read_text(encoding="utf-8"))
    architecture = docker("version", "--format", "{{.Server.Arch}}")
    return lambda name: f"{known[name]['repository']}@{known[name]['manifests'][architecture]}"


@contextmanager
def server(docker: Docker, image: str, script: str, text: str, *words: str) -> Iterator[str]:
    """A container that runs `script` with `text` as /tmp/given; its name."""
    name = "tuning-tried"
    docker("run", "--detach", "--name", name, "--entrypoint", "sleep", *words, image, "600")
    try:
        docker("exec", "--interactive", name, "sh", "-c", "cat >/tmp/given", stdin=text)
        docker("exec", "--detach", name, "sh", "-c", f"({script}) >/tmp/log 2>&1")
        yield name
    finally:
        docker("rm", "--force", name)


# Without what is the platform's own: certificates and rules.
POSTGRES = """
initdb --pgdata=/tmp/data --auth=trust --username=postgres &&
exec postgres -D /tmp/data -c config_file=/tmp/given -c ssl=off -c hba_file=/tmp/data/pg_hba.conf -c ident_file=/tmp/data/pg_ident.conf \
  -c unix_socket_directories=/tmp
"""


@contextmanager
def postgres(
    docker: Docker, image: Callable[[str], str], settings: Settings
) -> Iterator[Callable[[str], list[str]]]:
    limits = settings.postgres
    words = [
        "--user",
        "999:999",
        "--memory",
        f"{limits.memory}m",
        "--memory-swap",
        f"{limits.memory}m",
        "--shm-size",
        f"{limits.shm_size}m",
    ]
    with server(docker, image("postgres"), POSTGRES, postgresql_conf(limits), *words) as name:

        def ask(sql: str) -> list[str]:
            return docker(
                "exec",
                name,
                "psql",
                "-XAtq",
                "-h",
                "/tmp",
                "-U",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                sql,
            ).splitlines()

        try:
            until(lambda: _ready(docker, name), seconds=60, what="PostgreSQL answers")
        except AssertionError:
            raise AssertionError(docker("exec", name, "cat", "/tmp/log")) from None
        yield ask


def _ready(docker: Docker, name: str) -> bool:
    return docker("exec", name, "sh", "-c", "pg_isready -h /tmp || :").endswith("accepting connections")


def _units(unit: str) -> int:
    """KiB of one of pg_settings' units."""
    return {"kB": 1, "8kB": 8, "MB": 1024}.get(unit, 0)


@pytest.mark.parametrize(("shape", "profile"), [(SMALL, "oltp"), (MIDDLE, "mixed"), (MIDDLE, "analytics")])
def test_postgres_starts_with_every_value_and_gives_it_back(
    docker: Docker, image: Callable[[str], str], shape: tuple[int, int], profile: str
) -> None:
    settings = of(shape, profile=profile)
    with postgres(docker, image, settings) as ask:
        # The others are set on the command line here.
        refused = ask("SELECT lower(name) FROM pg_file_settings WHERE error IS NOT NULL")
        assert not settings.postgres.parameters.keys() & set(refused)
        rows = [
            row.split("|") for row in ask("SELECT lower(name), setting, coalesce(unit, '') FROM pg_settings")
        ]
        found = {name: (value, unit) for name, value, unit in rows}
        for name, wanted in settings.postgres.parameters.items():
            value, unit = found[name]
            if _units(unit):
                assert int(value) * _units(unit) == kib(name, wanted), name
            elif wanted.endswith("min"):
                assert (value, unit) == (str(int(wanted.removesuffix("min")) * 60), "s")
            else:
                assert value == wanted, name
        # Sorts and hashes by several workers, in the container's own shared memory.
        ask("CREATE TABLE t AS SELECT n, n % 1000 AS m FROM generate_series(1, 300000) n")
        assert ask("SELECT count(*) FROM (SELECT a.m FROM t a JOIN t b USING (n) ORDER BY a.m, b.m) x") == [
            "300000"
        ]


def test_postgres_reads_the_values_of_the_largest_machine(
    docker: Docker, image: Callable[[str], str]
) -> None:
    settings = of(LARGE, profile="analytics", disk="nvme")
    with server(
        docker, image("postgres"), ":", postgresql_conf(settings.postgres), "--user", "999:999"
    ) as name:
        docker("exec", name, "initdb", "--pgdata=/tmp/data")

        def asked(parameter: str) -> str:
            return docker(
                "exec", name, "postgres", "-C", parameter, "-D", "/tmp/data", "-c", "config_file=/tmp/given"
            )

        assert asked("shared_buffers") == str(
            int(settings.postgres.parameters["shared_buffers"].removesuffix("MB")) * 128
        )
        assert asked("huge_pages") == "try"
        # A value that it does not take is an error here, which is what hold-clients.sh relies on.
        docker("exec", name, "sh", "-c", "echo 'huge_pages = maybe' >>/tmp/given")
        with pytest.raises(AssertionError, match='invalid value for parameter "huge_pages": "maybe"'):
            asked("shared_buffers")


def test_the_names_are_those_of_postgres(docker: Docker, image: Callable[[str], str]) -> None:
    lines = docker(
        "run", "--rm", "--user", "999:999", "--entrypoint", "postgres", image("postgres"), "--describe-config"
    ).splitlines()
    context = {fields[0].lower(): fields[1] for fields in (line.split("\t") for line in lines)}
    with postgres(docker, image, of(SMALL)) as ask:
        rows = ask("SELECT name, context FROM pg_settings WHERE name LIKE 'pg_stat_statements.%'")
    context |= {row.split("|")[0]: row.split("|")[1] for row in rows}
    assert {name for name, seen in context.items() if seen == "postmaster"} == native_names.POSTGRES_AT_START
    assert {
        name for name, seen in context.items() if seen not in ("postmaster", "internal")
    } == native_names.POSTGRES_RELOADED
    assert (
        set(parameters(of(SMALL).postgres)) <= native_names.POSTGRES_AT_START | native_names.POSTGRES_RELOADED
    )


REDIS = "touch /tmp/users.acl; exec redis-server /tmp/given --tls-port 0 --aclfile /tmp/users.acl --dir /tmp"


@pytest.mark.parametrize("shape", [SMALL, MIDDLE, LARGE])
def test_redis_takes_every_value_and_gives_it_back(
    docker: Docker, image: Callable[[str], str], shape: tuple[int, int]
) -> None:
    settings = of(shape).redis
    with server(docker, image("redis"), REDIS, redis_conf(settings), "--user", "999:999") as name:
        until(
            lambda: "PONG" in docker("exec", name, "sh", "-c", "redis-cli ping || :"),
            seconds=30,
            what="Redis answers",
        )
        found = json.loads(docker("exec", name, "redis-cli", "--json", "CONFIG", "GET", "*"))
        assert {key: found[key] for key in running_settings(settings)} == running_settings(settings)
        assert found["io-threads"] == settings.parameters["io-threads"]
        assert found.keys() >= native_names.REDIS
        # As `up` puts a running server in order.
        for key, value in running_settings(settings).items():
            assert docker("exec", name, "redis-cli", "CONFIG", "SET", key, value) == "OK", key


PGBOUNCER = r"""sed -i -e '/^\(auth\|client_tls\|admin\|stats\)/d' -e 's/^unix_socket_dir.*/unix_socket_dir = \/tmp/' /tmp/given &&
printf 'auth_type = any\nadmin_users = x\n' >>/tmp/given && exec pgbouncer /tmp/given"""


@pytest.mark.parametrize("shape", [SMALL, LARGE])
def test_pgbouncer_takes_every_value_and_gives_it_back(
    docker: Docker, image: Callable[[str], str], shape: tuple[int, int]
) -> None:
    settings = of(shape).pgbouncer
    with server(
        docker, image("pgbouncer"), PGBOUNCER, pgbouncer_ini(of(shape)), "--user", "1001:1001"
    ) as name:
        client = ["run", "--rm", "--network", f"container:{name}", "--entrypoint", "psql", image("postgres")]
        ask = [*client, "-XAt", "-h", "127.0.0.1", "-p", "6432", "-U", "x", "-c", "SHOW CONFIG", "pgbouncer"]
        until(
            lambda: (
                "yes"
                in docker(
                    "exec",
                    name,
                    "sh",
                    "-c",
                    "(exec 3<>/dev/tcp/127.0.0.1/6432) 2>/dev/null && echo yes || bash -c 'exec 3<>/dev/tcp/127.0.0.1/6432' && echo yes || :",
                )
            ),
            seconds=30,
            what="PgBouncer listens",
        )
        rows = [row.split("|") for row in docker(*ask).splitlines()]
    found = {row[0]: row[1] for row in rows}
    wanted = settings.parameters | {
        "default_pool_size": str(settings.pool_size),
        "max_client_conn": str(settings.max_clients),
    }
    assert {key: found[key] for key in wanted} == wanted
    assert {row[0] for row in rows if row[3] == "no"} == native_names.PGBOUNCER_AT_START
    assert found.keys() >= native_names.PGBOUNCER_RELOADED


# --- on the platform ---


def test_an_operators_parameters_reach_the_servers_and_stay(platform: Platform) -> None:
    postgres = {
        **platform.config["postgres"],
        "parameters": {"shared_buffers": "144MB", "work_mem": "7MB", "datestyle": "ISO, DMY"},
    }
    with platform.changed(
        postgres=postgres,
        redis={"parameters": {"slowlog-max-len": 77}},
        pgbouncer={"parameters": {"pkt_buf": 8192, "server_idle_timeout": 99}},
    ):
        platform.up()
        assert (
            platform.psql(
                "SELECT string_agg(current_setting(n), '/') FROM unnest(ARRAY['shared_buffers', 'work_mem', 'datestyle']) n"
            )
            == "144MB/7MB/ISO, DMY"
        )
        assert platform.redis().config_get("slowlog-max-len") == {"slowlog-max-len": "77"}
        with platform.connect(database="pgbouncer") as console:
            # The console knows the simple protocol alone.
            rows = psycopg.ClientCursor(console).execute("SHOW CONFIG").fetchall()
        assert {row[0]: row[1] for row in rows if row[0] in ("pkt_buf", "server_idle_timeout")} == {
            "pkt_buf": "8192",
            "server_idle_timeout": "99",
        }
        assert platform.up(refresh=True).operations() == {}


def test_a_value_with_which_postgres_could_not_start_leaves_it_running(platform: Platform) -> None:
    before = platform.ids()["postgres-db"]
    wrong = {**platform.config["postgres"], "parameters": {"huge_pages": "maybe"}}
    with platform.changed(postgres=wrong), pytest.raises(automation.CommandError) as caught:
        platform.up()
    assert 'it refuses its new configuration (invalid value for parameter "huge_pages": "maybe")' in str(
        caught.value
    )
    assert platform.ids()["postgres-db"] == before
    assert platform.psql("SELECT 1") == "1"
