"""No application gets at another's data in PostgreSQL, whatever it tries: directly, or through PgBouncer."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from tests.engine.applications import Account, accounts
from tests.engine.platform import Platform

NAMES = ("librarian", "reporting", "trading-app")
DIRECTIONS = list(itertools.permutations(NAMES, 2))
PLATFORM_ROLES = ("platform_admin", "pgbouncer_auth", "pg_read_all_data", "pg_write_all_data", "pg_monitor")

both_ways = pytest.mark.parametrize("pooled", [True, False], ids=["pooler", "direct"])
each_direction = pytest.mark.parametrize(
    ("one", "other"), DIRECTIONS, ids=[f"{one}-at-{other}" for one, other in DIRECTIONS]
)


@pytest.fixture(scope="module")
def clients(running: Platform) -> Iterator[dict[str, Account]]:
    """All applications, each with a table of its own."""
    with accounts(running) as made:
        assert set(NAMES) <= set(made)
        for account in made.values():
            with account.connect(pooled=False) as client:
                client.execute("CREATE TABLE IF NOT EXISTS notes AS SELECT 'private' AS note")
                client.execute("CREATE OR REPLACE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42'")
        yield made


@both_ways
@each_direction
def test_only_its_own_database_lets_an_application_in(
    clients: dict[str, Account], one: str, other: str, pooled: bool
) -> None:
    for database in (clients[other].database, "postgres", "template1"):
        clients[one].refused(pooled=pooled, dbname=database)
    with clients[one].connect(pooled=pooled) as client:
        assert client.execute("SELECT current_database(), note FROM notes").fetchone() == (
            clients[one].database,
            "private",
        )


@both_ways
@each_direction
def test_its_password_is_good_for_its_own_login_only(
    clients: dict[str, Account], one: str, other: str, pooled: bool
) -> None:
    for user in (clients[other].login, *clients[other].groups, clients[other].owner, "platform_admin"):
        for database in (clients[one].database, clients[other].database):
            clients[one].refused(
                pooled=pooled, dbname=database, user=user, match="refused|rejects|failed|no such|rejected"
            )


@each_direction
def test_not_even_where_a_superuser_opened_the_database(
    clients: dict[str, Account], one: str, other: str
) -> None:
    """A grant by hand meets pg_hba.conf; and where that is out of the way, the privileges in the database."""
    mine, theirs = clients[one], clients[other]
    platform = theirs.platform
    platform.psql(
        f'GRANT CONNECT, TEMPORARY ON DATABASE "{theirs.database}" TO "{mine.login}", "{mine.owner}"'
    )
    try:
        for pooled in (True, False):
            mine.refused(pooled=pooled, dbname=theirs.database)
        for role in (mine.login, mine.owner):
            with platform.connect(database=theirs.database, pooled=False) as inside:
                inside.execute(f'SET SESSION AUTHORIZATION "{role}"'.encode())
                for refused in (
                    "SELECT * FROM public.notes",
                    "INSERT INTO public.notes VALUES ('theirs')",
                    "DROP TABLE public.notes",
                    "SELECT public.answer()",
                    "CREATE TABLE public.mine ()",
                    "CREATE SCHEMA mine",
                    "TRUNCATE public.notes",
                    "COMMENT ON TABLE public.notes IS 'mine'",
                ):
                    with pytest.raises(errors.InsufficientPrivilege):
                        inside.execute(refused.encode())
    finally:
        platform.psql(f'REVOKE ALL ON DATABASE "{theirs.database}" FROM "{mine.login}", "{mine.owner}"')


@both_ways
@each_direction
def test_nobody_becomes_somebody_else(
    clients: dict[str, Account], one: str, other: str, pooled: bool
) -> None:
    roles = (*sorted(clients[other].roles), *PLATFORM_ROLES)
    with clients[one].connect(pooled=pooled) as client:
        for role in roles:
            for statement in ("SET ROLE", "SET LOCAL ROLE", "SET SESSION AUTHORIZATION"):
                with pytest.raises(errors.InsufficientPrivilege):
                    client.execute(f'{statement} "{role}"'.encode())
            with pytest.raises(errors.InsufficientPrivilege):
                client.execute(f'GRANT "{role}" TO "{clients[one].login}"'.encode())
        # Nor lets it anybody in.
        with pytest.raises(errors.InsufficientPrivilege):
            client.execute(f'GRANT "{clients[one].owner}" TO "{clients[other].login}"'.encode())


@each_direction
def test_sessions_of_another_are_out_of_reach(clients: dict[str, Account], one: str, other: str) -> None:
    with clients[other].connect(pooled=False) as theirs, clients[one].connect(pooled=False) as mine:
        theirs.execute("SELECT 'what nobody else may see'")
        pid = theirs.info.backend_pid
        for kill in ("pg_terminate_backend", "pg_cancel_backend"):
            with pytest.raises(errors.InsufficientPrivilege):
                mine.execute(f"SELECT {kill}({pid})".encode())
        seen = mine.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
        assert seen == ("<insufficient privilege>",)
        assert theirs.execute("SELECT 1").fetchone() == (1,)


@both_ways
@pytest.mark.parametrize("name", NAMES)
def test_a_login_has_no_power_over_the_server(clients: dict[str, Account], name: str, pooled: bool) -> None:
    account = clients[name]
    other = next(each for each in clients.values() if each is not account)
    with account.connect(pooled=pooled) as client:
        for refused in (
            "CREATE ROLE helper",
            "CREATE DATABASE more",
            f'ALTER ROLE "{account.login}" SUPERUSER',
            f'ALTER ROLE "{account.login}" CREATEDB CREATEROLE',
            f'ALTER ROLE "{account.login}" CONNECTION LIMIT -1',
            f"ALTER ROLE \"{other.login}\" PASSWORD 'mine'",
            f'ALTER DATABASE "{other.database}" CONNECTION LIMIT 0',
            f'DROP DATABASE "{other.database}"',
            "COPY notes TO PROGRAM 'cat'",
            "COPY notes FROM PROGRAM 'id'",
            "COPY notes FROM '/etc/passwd'",
            "COPY notes TO '/tmp/notes'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT pg_ls_dir('.')",
            "SELECT lo_import('/etc/passwd')",
            "SELECT rolpassword FROM pg_authid",
            "SELECT pg_reload_conf()",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "SET log_statement = 'none'",
            "SET session_replication_role = 'replica'",
            "CREATE TABLESPACE elsewhere LOCATION '/tmp'",
            "CREATE EXTENSION postgres_fdw",
            "CREATE EXTENSION dblink",
            "CREATE FUNCTION run(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
            "CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION answer()",
            "CREATE SUBSCRIPTION leak CONNECTION 'host=pgbouncer' PUBLICATION all_of_it",
            "SELECT pg_create_physical_replication_slot('slot')",
            "SELECT pg_logical_emit_message(false, 'a', pg_read_file('/etc/hostname'))",
        ):
            with pytest.raises((errors.InsufficientPrivilege, errors.InvalidFunctionDefinition)):
                client.execute(refused.encode())
        # The owner may drop a database, but not the one that it is in, and it gets into no other.
        with pytest.raises(errors.ObjectInUse):
            client.execute(f'DROP DATABASE "{account.database}"'.encode())
    powers = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    quoted = ", ".join(f"'{role}'" for role in account.roles)
    assert (
        account.platform.psql(f"SELECT rolname FROM pg_roles WHERE ({powers}) AND rolname IN ({quoted})")
        == ""
    )
    can_login = account.platform.psql(
        f"SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname IN ({quoted})"
    )
    assert can_login == account.login


ROUNDS, CONNECTIONS = 60, 6


class _Neighbour:
    """One client of the pooler, which leaves behind all that a session can, and says what of others it found."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.backends: set[int] = set()
        self.trouble: list[str] = []

    def use(self) -> None:
        """Several connections, which take turns."""
        open_ = [self.account.connect() for _ in range(CONNECTIONS)]
        try:
            for turn in range(ROUNDS):
                client = open_[turn % CONNECTIONS]
                with client.transaction():
                    self._look(client)
                with client.transaction():
                    self._leave(client, turn)
        except psycopg.Error as error:
            self.trouble.append(f"{type(error).__name__}: {error}")
        finally:
            for client in open_:
                client.close()

    def _look(self, client: "psycopg.Connection[tuple[object, ...]]") -> None:
        """What a session begins with, wherever the pooler put it."""
        account = self.account
        row = client.execute(
            "SELECT pg_backend_pid(), current_user, session_user, current_database(), current_setting('search_path'),"
            " current_setting('app.owner', true), (SELECT string_agg(statement, ';') FROM pg_prepared_statements),"
            " (SELECT string_agg(relname, ';') FROM pg_class WHERE pg_table_is_visible(oid) AND relpersistence = 't')",
            prepare=True,
        ).fetchone()
        assert row
        pid, current, session, database, path, marker, statements, temporary = row
        assert isinstance(pid, int)
        self.backends.add(pid)
        if (session, database) != (account.login, account.database) or current not in account.roles:
            self.trouble.append(f"is {current}, {session} in {database}")
        for other in NAMES:
            if other != account.name and f"of {other}" in f"{path} {marker} {statements} {temporary}":
                self.trouble.append(f"sees of {other}: {path} {marker} {statements} {temporary}")

    def _leave(self, client: "psycopg.Connection[tuple[object, ...]]", turn: int) -> None:
        """Traces that outlive the transaction in the server's session."""
        name = self.account.name
        for statement in (
            ("SET ROLE NONE", "RESET ROLE", f'SET ROLE "{self.account.owner}"')[turn % 3],
            f'SET search_path = "of {name}", public',
            f"SET app.owner = 'of {name}'",
            f'CREATE TEMPORARY TABLE IF NOT EXISTS "of {name}" (note text)',
            "SELECT pg_advisory_lock_shared(7)",
        ):
            client.execute(statement.encode())
        client.execute(f"SELECT 'of {name}', %s::int".encode(), (turn,), prepare=True)
        if turn % 10 == 9:
            by_hand = f"PREPARE by_hand_{id(self)}_{turn} AS SELECT 'of {name}'"
            client.execute(b"DEALLOCATE ALL" if turn % 20 == 9 else by_hand.encode())


def test_what_a_session_leaves_in_the_pooler_reaches_no_other_application(
    clients: dict[str, Account],
) -> None:
    neighbours = [_Neighbour(clients[name]) for name in NAMES for _ in range(2)]
    with ThreadPoolExecutor(len(neighbours)) as threads:
        list(threads.map(_Neighbour.use, neighbours))
    assert [neighbour.trouble for neighbour in neighbours if neighbour.trouble] == []
    # The reason why: no server connection is shared between applications.
    for name in NAMES:
        mine = {pid for n in neighbours if n.account.name == name for pid in n.backends}
        theirs = {pid for n in neighbours if n.account.name != name for pid in n.backends}
        assert mine
        assert mine.isdisjoint(theirs)


@both_ways
def test_a_lock_by_number_is_an_application_s_own(clients: dict[str, Account], pooled: bool) -> None:
    with (
        clients["librarian"].connect(pooled=pooled) as one,
        clients["reporting"].connect(pooled=pooled) as other,
        one.transaction(),
    ):
        one.execute("SELECT pg_advisory_xact_lock(42)")
        assert other.execute("SELECT pg_try_advisory_xact_lock(42)").fetchone() == (True,)
