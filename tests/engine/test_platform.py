"""The platform runs: first `up`, a second one, and real clients."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import redis
from redis.exceptions import NoPermissionError

from components.host_settings import LocalHostSettings
from components.native_names import POSTGRES_AT_START
from components.render.postgres import parameters
from components.settings import Settings
from tests.engine.platform import CONTAINERS, Platform


def test_up_makes_three_healthy_containers(running: Platform) -> None:
    for name in CONTAINERS:
        assert running.docker("inspect", "--format", "{{.State.Health.Status}}", name) == "healthy"
    outputs = {name: out.value for name, out in running.stack.outputs().items()}
    assert outputs["srvRoot"] == str(running.srv)
    assert outputs["postgresAddress"] == "127.0.0.1:5432"
    assert outputs["pgbouncerAddress"] == "127.0.0.1:6432"
    assert outputs["redisAddress"] == "127.0.0.1:6379"
    assert outputs["containers"] == running.ids()
    assert set(outputs["images"]) == set(CONTAINERS)
    assert all("@sha256:" in image for image in outputs["images"].values())


def test_a_second_up_changes_nothing(running: Platform) -> None:
    before = running.ids()
    assert running.up().operations() == {}
    assert running.up(refresh=True).operations() == {}
    assert running.ids() == before


def test_the_operator_needs_no_password_in_the_container(running: Platform) -> None:
    assert running.psql("SELECT current_user") == "platform_admin"
    assert running.psql("SHOW server_version").startswith("17.")


def test_the_cluster_is_made_as_the_manual_says(running: Platform) -> None:
    assert running.psql("SHOW data_checksums") == "on"
    assert running.psql("SHOW server_encoding") == "UTF8"
    assert running.psql("SHOW timezone") == "UTC"
    assert (
        running.psql("SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'template1'")
        == "b|C.UTF-8"
    )
    assert running.psql("SELECT count(*) FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%'") == "0"
    assert (
        running.psql(
            "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'trust' OR error IS NOT NULL"
        )
        == "0"
    )


def test_the_configuration_is_the_one_in_force(running: Platform) -> None:
    """PostgreSQL takes every parameter of our file, and the split between start and reload is its own."""
    wanted = set(parameters(Settings(host=LocalHostSettings(kind="local")).postgres))
    read = running.psql("SELECT name FROM pg_file_settings WHERE applied AND error IS NULL")
    assert {name.lower() for name in read.splitlines()} == wanted
    rows = running.psql("SELECT lower(name), context, pending_restart FROM pg_settings").splitlines()
    seen = {name: (context, pending) for name, context, pending in (row.split("|") for row in rows)}
    assert {name for name in wanted if seen[name][0] == "postmaster"} == POSTGRES_AT_START & wanted
    assert not [name for name in wanted if seen[name][1] == "t"]


@pytest.mark.parametrize("pooled", [True, False], ids=["pooler", "direct"])
def test_sql_as_an_application_role_and_as_the_admin(running: Platform, pooled: bool) -> None:
    running.psql("DROP DATABASE IF EXISTS shop")
    running.psql("DROP ROLE IF EXISTS shop_user")
    running.psql("CREATE ROLE shop_user LOGIN PASSWORD 'an-application-password'")
    running.psql("CREATE DATABASE shop OWNER shop_user")
    try:
        with running.connect(
            user="shop_user", password="an-application-password", database="shop", pooled=pooled
        ) as client:
            client.execute("CREATE TABLE orders (id int PRIMARY KEY, what text)")
            client.execute("INSERT INTO orders SELECT n, 'thing ' || n FROM generate_series(1, 1000) n")
            # Prepared by the client library after its threshold, held by the pooler across transactions.
            for number in range(20):
                row = client.execute(
                    "SELECT what FROM orders WHERE id = %s", (number + 1,), prepare=True
                ).fetchone()
                assert row == (f"thing {number + 1}",)
        with running.connect(database="shop", pooled=pooled) as client:
            assert client.execute("SELECT count(*), current_user FROM orders").fetchone() == (
                1000,
                "platform_admin",
            )
    finally:
        running.psql("DROP DATABASE shop WITH (FORCE)")
        running.psql("DROP ROLE shop_user")


@pytest.mark.parametrize("pooled", [True, False], ids=["pooler", "direct"])
def test_a_wrong_password_is_refused(running: Platform, pooled: bool) -> None:
    for user, password in (("platform_admin", "wrong"), ("platform_admin", ""), ("nobody", "wrong")):
        with pytest.raises(psycopg.OperationalError):
            running.connect(user=user, password=password, pooled=pooled)


def test_the_lookup_role_may_look_up_and_nothing_else(running: Platform) -> None:
    auth = {"user": "pgbouncer_auth", "password": running.secrets["pgbouncerAuthPassword"], "pooled": False}
    with running.connect(**auth) as client:
        row = client.execute("SELECT uname, phash FROM pgbouncer.user_lookup('platform_admin')").fetchone()
        assert row is not None
        assert row[1].startswith("SCRAM-SHA-256$")
        for refused in ("SELECT * FROM pg_authid", "CREATE TABLE pgbouncer.t ()", "CREATE ROLE other"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                client.execute(refused)
    with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
        running.connect(**auth, database="template1")


def test_pgbouncer_console_for_the_admin(running: Platform) -> None:
    ran = running.run(
        ["docker", "run", "--rm", "-i", "--network", "central-data-platform", "--entrypoint", "sh", running.docker("inspect", "--format", "{{.Image}}", "postgres-db"),
         "-c", 'read -r PGPASSWORD; export PGPASSWORD; exec psql -XqtA -h pgbouncer -p 6432 -U platform_admin -d pgbouncer -c "SHOW CONFIG"'],
        stdin=running.secrets["postgresPassword"] + "\n",
    )  # fmt: skip
    shown = {line.split("|")[0]: line.split("|")[1] for line in ran.stdout.splitlines()}
    assert shown["pool_mode"] == "transaction"
    assert shown["max_prepared_statements"] == "200"
    assert shown["auth_type"] == "hba"


def _select_one(platform: Platform) -> object:
    with platform.connect() as client:
        return client.execute("SELECT 1").fetchone()


def test_pooler_script(running: Platform) -> None:
    pooler = str(running.srv / "apps/pooler.sh")
    assert "max_client_conn" in running.run([pooler, "show", "config"]).stdout
    running.run([pooler, "pause"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_select_one, running)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=2)
        running.run([pooler, "resume"])
        assert waiting.result(timeout=20) == (1,)
    running.run([pooler, "reload"])
    assert running.run([pooler, "show", "nonsense; DROP"], check=False).returncode == 2
    assert running.run([pooler], check=False).returncode == 2


def test_pause_gives_up_while_a_query_runs(running: Platform) -> None:
    pooler = str(running.srv / "apps/pooler.sh")
    with running.connect() as busy:
        busy.execute("BEGIN")
        ran = running.run(["env", "POOLER_TIMEOUT=3", pooler, "pause"], check=False)
        assert ran.returncode == 1
        assert "clients were let go on" in ran.stderr
        busy.execute("COMMIT")
    with running.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_redis_answers_only_with_the_right_user(running: Platform) -> None:
    assert running.redis().ping()
    assert running.redis(user="health", password="whatever").ping()
    with pytest.raises(redis.AuthenticationError):
        running.redis(user=None).ping()
    with pytest.raises(redis.AuthenticationError):
        running.redis(password="wrong").ping()
    with pytest.raises(NoPermissionError):
        running.redis(user="health", password="x").get("key")


def test_redis_is_configured(running: Platform) -> None:
    client = running.redis()
    assert client.config_get("maxmemory")["maxmemory"] == str(256 * 1024 * 1024)
    assert client.config_get("appendonly")["appendonly"] == "yes"
    assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    names = {line.split()[1] for line in client.acl_list()}
    assert names == {"default", "admin", "operator", "health", "librarian", "reporting"}


def test_services_run_as_their_own_users(running: Platform) -> None:
    for container, uid in (("postgres-db", "999"), ("redis-cache", "999"), ("pgbouncer", "1001")):
        pid = running.docker("inspect", "--format", "{{.State.Pid}}", container)
        status = running.run(["cat", f"/proc/{pid}/status"]).stdout
        uids = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
        assert uids == uid, container


def test_ports_are_published_on_one_address_only(running: Platform) -> None:
    for container in CONTAINERS:
        ports = json.loads(
            running.docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", container)
        )
        expected = set() if container == "postgres-wal" else {"127.0.0.1"}
        assert {b["HostIp"] for bindings in ports.values() for b in bindings or []} == expected


def test_files_have_owner_and_mode(running: Platform) -> None:
    expected = {
        "config/platform.env": "600 0:0",
        "config/pgbouncer/userlist.txt": "400 1001:1001",
        "config/redis/users.acl": "400 999:999",
        "apps/pooler.sh": "755 0:0",
        "data/postgres": "700 999:999",
        "data/redis": "700 999:999",
    }
    for path, words in expected.items():
        ran = subprocess.run(
            ["stat", "-c", "%a %u:%g", running.srv / path], capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == words, path


def test_platform_env_is_read_alike_by_sh_and_compose(running: Platform) -> None:
    path = running.srv / "config/platform.env"
    ran = subprocess.run(
        ["sh", "-c", '. "$1"; printf %s "$REDIS_ADMIN_PASSWORD"', "sh", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == running.secrets["redisAdminPassword"]
    assert f"REDIS_ADMIN_PASSWORD={ran.stdout}" in running.compose("config", "--environment").splitlines()
