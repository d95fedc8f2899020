"""PgBouncer's ways to PostgreSQL: its socket, where whoever holds it is nobody by that alone, and an address that does not change."""

import re

import psycopg
import pytest

from tests.engine.applications import NOT_LET_IN, accounts
from tests.engine.platform import SERVERS, Platform
from tests.waiting import until

POOLER_UID = "1001"
WEAK = "trading-app"


def _over_the_socket(
    platform: Platform, user: str, database: str, *, password: str = "", options: str = ""
) -> tuple[int, str]:
    """PostgreSQL's own client as PgBouncer's user, with its mount; the exit code and what it said."""
    image = platform.docker("inspect", "--format", "{{.Image}}", "postgres-db")
    ask = (
        "read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=10;"
        f' exec psql -XqtA -h /var/run/postgresql -c "SELECT current_user" "user={user} dbname={database} {options}"'
    )
    ran = platform.run(
        [
            *(
                "docker",
                "run",
                "--rm",
                "--interactive",
                "--network=none",
                f"--user={POOLER_UID}:{POOLER_UID}",
            ),
            *("--cap-drop=ALL", f"--volume={platform.srv}/run/postgresql:/var/run/postgresql:ro"),
            *("--entrypoint=sh", image, "-c", ask),
        ],
        stdin=f"{password}\n",
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_pools_are_over_the_socket_but_for_a_weak_password(running: Platform) -> None:
    pooler = running.address("pgbouncer")
    found: dict[str, str | None] = {}
    with accounts(running) as every:
        for name, account in every.items():
            with account.connect() as client:
                row = client.execute("SELECT host(inet_client_addr())").fetchone()
                assert row
                found[name] = row[0]
    assert found == {"librarian": None, "reporting": None, WEAK: pooler}


@pytest.mark.parametrize("user", ["platform_admin", "platform_backup", "platform_restore"])
def test_its_uid_is_none_of_the_platform_s_roles(running: Platform, user: str) -> None:
    # Whatever password it knows: these are whom the kernel says.
    password = running.secrets["postgresPassword"]
    for database, options in (("postgres", ""), ("librarian", ""), ("librarian", "replication=true")):
        code, said = _over_the_socket(running, user, database, password=password, options=options)
        assert code
        assert re.search(f'Peer authentication failed for user "{user}"|{NOT_LET_IN}', said), said


def test_the_look_up_role_does_not_come_that_way(running: Platform) -> None:
    password = running.secrets["pgbouncerAuthPassword"]
    for database in ("postgres", "librarian", "template1"):
        code, said = _over_the_socket(running, "pgbouncer_auth", database, password=password)
        assert code
        assert "pg_hba.conf rejects connection" in said, said


def test_a_weak_password_is_no_good_there_and_a_strong_one_still_has_to_be_said(running: Platform) -> None:
    weak = running.application_secrets[WEAK]["database"]
    for database in ("trading", "librarian", "postgres"):
        code, said = _over_the_socket(running, "trading_app_user", database, password=weak)
        assert code
        assert "pg_hba.conf rejects connection" in said, said
    strong = running.application_secrets["librarian"]["database"]
    assert _over_the_socket(running, "librarian_user", "librarian", password=strong) == (
        0,
        "librarian_owner\n",
    )
    for password, database in (("", "librarian"), (f"{strong}x", "librarian"), (strong, "reporting")):
        assert _over_the_socket(running, "librarian_user", database, password=password)[0]


def test_the_administrator_gets_into_an_application_s_database_past_the_pooler(running: Platform) -> None:
    with running.connect(database="librarian", pooled=False) as client:
        assert client.execute("SELECT current_user").fetchone() == ("platform_admin",)
    with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
        running.connect(database="librarian")
    # Where the platform's own pool is, on the network.
    with running.connect() as client:
        assert client.execute("SELECT current_user").fetchone() == ("platform_admin",)


def test_pgbouncer_can_put_nothing_in_the_socket_s_place(running: Platform) -> None:
    for command in ("touch /var/run/postgresql/new", "rm /var/run/postgresql/.s.PGSQL.5432"):
        assert running.run(["docker", "exec", "pgbouncer", "sh", "-c", command], check=False).returncode
    assert running.psql("SELECT 1") == "1"


def test_a_server_that_comes_back_after_others_is_where_it_was(platform: Platform) -> None:
    """Docker gives the first that comes the first address that is free, and PgBouncer may remember a name's for ten minutes."""
    before = [platform.address(server) for server in SERVERS]
    with platform.connect() as client:
        client.execute("SELECT 1")
    platform.docker("stop", "postgres-wal", *SERVERS[:2])
    platform.docker("start", "postgres-wal")
    for name in reversed(SERVERS[:2]):
        platform.docker("start", name)
    until(lambda: _served(platform), seconds=15, what="PgBouncer serves again")
    assert [platform.address(server) for server in SERVERS] == before


def _served(platform: Platform) -> bool:
    try:
        with platform.connect() as client:
            return client.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False
