"""What an application has: its files, its pool, and a database whose objects belong to an owner that nobody logs in as."""

import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import errors

from tests.engine.applications import Account, accounts
from tests.engine.platform import PROJECT, Platform
from tests.waiting import until

NAMES = ("librarian", "reporting", "trading-app")
both_ways = pytest.mark.parametrize("pooled", [True, False], ids=["pooler", "direct"])


@pytest.fixture(scope="module")
def clients(running: Platform) -> Iterator[dict[str, Account]]:
    with accounts(running) as made:
        yield made


def test_server_env_has_ready_connection_strings(clients: dict[str, Account]) -> None:
    for account in clients.values():
        said = account.environment()
        secrets = account.platform.application_secrets[account.name]
        assert (said["DATABASE_HOST"], said["DATABASE_PORT"]) == ("pgbouncer", "6432")
        assert (said["DATABASE_DIRECT_HOST"], said["DATABASE_DIRECT_PORT"]) == ("postgres-db", "5432")
        assert (said["DATABASE_NAME"], said["DATABASE_USER"]) == (account.database, account.login)
        assert said["DATABASE_PASSWORD"] == secrets["database"]
        if "redis" in secrets:
            assert (said["REDIS_HOST"], said["REDIS_PORT"]) == ("redis-cache", "6379")
            assert (said["REDIS_USER"], said["REDIS_PASSWORD"]) == (account.name, secrets["redis"])
            assert said["REDIS_KEY_PREFIX"] == f"{account.name}:"


@pytest.mark.parametrize("file", ["server.env", "server.external.env"])
@pytest.mark.parametrize("name", NAMES)
def test_the_files_with_passwords_are_root_s(running: Platform, name: str, file: str) -> None:
    found = (running.srv / "apps" / name / file).stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, 0, 0o600)


def test_the_names_of_server_env_are_those_of_the_network(clients: dict[str, Account]) -> None:
    """From a container, with nothing but the file."""
    account = clients["librarian"]
    ask = (
        '. /server.env; export PGPASSWORD="$DATABASE_PASSWORD"; set -- -XqtA -U "$DATABASE_USER" -d "$DATABASE_NAME";'
        ' for at in "$DATABASE_HOST $DATABASE_PORT" "$DATABASE_DIRECT_HOST $DATABASE_DIRECT_PORT"; do'
        ' psql "$@" -h "${at% *}" -p "${at#* }" -c "SELECT current_database()"; done;'
        ' bash -c "exec 3<>/dev/tcp/$REDIS_HOST/$REDIS_PORT; echo PING >&3; head -n 1 <&3"'
    )
    image = account.platform.docker("inspect", "--format", "{{.Image}}", "postgres-db")
    mount = f"type=bind,source={account.folder / 'server.env'},target=/server.env,readonly"
    said = account.platform.docker(
        "run", "--rm", "--network", PROJECT, "--mount", mount, "--entrypoint", "sh", image, "-euc", ask
    )
    database, direct, redis_answers = said.splitlines()
    assert database == direct == account.database
    assert redis_answers.startswith("-NOAUTH")


def test_a_client_outside_the_network_checks_who_it_talks_to(clients: dict[str, Account]) -> None:
    for name in ("librarian", "reporting"):
        account = clients[name]
        said = account.environment("server.external.env")
        assert said["DATABASE_SSLMODE"] == "verify-full"
        for url in (said["DATABASE_URL"], said["DATABASE_DIRECT_URL"]):
            with psycopg.connect(url, sslrootcert=str(account.folder / "platform-ca.crt")) as client:
                assert client.pgconn.ssl_in_use
                assert client.execute("SELECT current_database()").fetchone() == (account.database,)


@both_ways
@pytest.mark.parametrize("name", NAMES)
def test_what_a_login_makes_belongs_to_the_owner(
    clients: dict[str, Account], name: str, pooled: bool
) -> None:
    account = clients[name]
    way = f"made_{'pooled' if pooled else 'direct'}"
    with account.connect(pooled=pooled) as client:
        assert client.execute("SELECT session_user, current_user").fetchone() == (
            account.login,
            account.owner,
        )
        for made in (
            f"CREATE SCHEMA {way}",
            f"CREATE TABLE {way}.things (id serial PRIMARY KEY, what text)",
            f"CREATE VIEW {way}.some AS SELECT what FROM {way}.things",
            f"CREATE TYPE {way}.mood AS ENUM ('good', 'bad')",
            f"CREATE FUNCTION {way}.answer() RETURNS int LANGUAGE sql AS 'SELECT 42'",
            "DISCARD ALL",
            f"CREATE TABLE {way}.later ()",
        ):
            client.execute(made.encode())
        owners = client.execute(
            "SELECT nspname, nspowner::regrole::text, (SELECT array_agg(DISTINCT relowner::regrole::text) FROM pg_class"
            " WHERE relnamespace = n.oid), (SELECT array_agg(DISTINCT proowner::regrole::text) FROM pg_proc WHERE pronamespace = n.oid),"
            " (SELECT array_agg(DISTINCT typowner::regrole::text) FROM pg_type WHERE typnamespace = n.oid)"
            " FROM pg_namespace n WHERE nspname = %s",
            (way,),
        ).fetchone()
        assert owners == (way, account.owner, [account.owner], [account.owner], [account.owner])
        client.execute(f"DROP SCHEMA {way} CASCADE".encode())


@pytest.mark.parametrize("name", NAMES)
def test_other_readers_and_writers_get_what_their_role_says(clients: dict[str, Account], name: str) -> None:
    """Of tables that were made after the roles were."""
    account = clients[name]
    read_only, read_write = account.groups
    with account.connect(pooled=False) as owner:
        owner.execute("DROP TABLE IF EXISTS shared")
        owner.execute("CREATE TABLE shared (id serial, what text)")
        owner.execute("INSERT INTO shared (what) VALUES ('here')")
    with account.platform.connect(database=account.database, pooled=False) as client:
        client.execute(f'SET ROLE "{read_only}"'.encode())
        assert client.execute("SELECT what FROM shared").fetchone() == ("here",)
        for refused in (
            "INSERT INTO shared (what) VALUES ('x')",
            "UPDATE shared SET what = 'x'",
            "DELETE FROM shared",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                client.execute(refused)
        client.execute(f'SET ROLE "{read_write}"'.encode())
        client.execute("INSERT INTO shared (what) VALUES ('more')")
        client.execute("UPDATE shared SET what = 'other' WHERE what = 'more'")
        client.execute("DELETE FROM shared WHERE what = 'other'")
        for role in (read_only, read_write):
            client.execute(f'SET ROLE "{role}"'.encode())
            for refused in (
                "CREATE TABLE own ()",
                "DROP TABLE shared",
                "TRUNCATE shared",
                "CREATE SCHEMA own",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    client.execute(refused)


@pytest.mark.parametrize("name", NAMES)
def test_the_public_schema_is_closed(running: Platform, clients: dict[str, Account], name: str) -> None:
    """For whoever has no role of this application, even inside its database."""
    running.psql("DROP ROLE IF EXISTS passer_by; CREATE ROLE passer_by")
    try:
        with running.connect(database=clients[name].database, pooled=False) as client:
            client.execute("SET ROLE passer_by")
            assert client.execute(
                "SELECT has_schema_privilege('public', 'USAGE'), has_schema_privilege('public', 'CREATE'),"
                " has_database_privilege(current_database(), 'CONNECT'), has_database_privilege(current_database(), 'TEMPORARY')"
            ).fetchone() == (False, False, False, False)
    finally:
        running.psql("DROP ROLE passer_by")


def test_extensions_of_the_settings_are_there(clients: dict[str, Account]) -> None:
    with clients["librarian"].connect() as client:
        assert client.execute("SELECT similarity('librarian', 'librarian') = 1").fetchone() == (True,)
    with clients["reporting"].connect() as client:
        found = client.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'").fetchall()
        assert found == []


def test_a_full_pool_holds_up_its_own_application_only(clients: dict[str, Account]) -> None:
    busy, other = clients["reporting"], clients["librarian"]
    pool = busy.settings["pool"]

    def asked(account: Account) -> float:
        begin = time.monotonic()
        with account.connect() as client:
            client.execute("SELECT 1")
        return time.monotonic() - begin

    def occupy(_: int) -> None:
        with busy.connect() as client:
            client.execute("SELECT pg_sleep(1.5)")

    with ThreadPoolExecutor(2 * pool) as threads:
        occupied = [threads.submit(occupy, number) for number in range(2 * pool)]
        until(lambda: busy.connections(state="active") == pool, seconds=5, what="the pool is full")
        others = [asked(other) for _ in range(10)]
        own = asked(busy)
        assert busy.connections(state="active") <= pool
        for each in occupied:
            each.result()
    # It waits until one of the second half has slept; nobody else waits for anything.
    assert own > 1
    assert max(others) < 1
    assert busy.connections() == pool


def test_connections_past_the_pooler_end_at_the_role_s_limit(clients: dict[str, Account]) -> None:
    account = clients["reporting"]
    limit = account.settings["pool"] + 5
    with ExitStack() as stack:
        # The pool's own are among them.
        while account.connections() < limit:
            stack.enter_context(account.connect(pooled=False))
        account.refused(pooled=False, match="too many connections for role")
        assert account.connections() == limit
        with account.connect() as pooled:
            assert pooled.execute("SELECT 1").fetchone() == (1,)
