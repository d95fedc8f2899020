"""What somebody changed by hand is found by a refresh, said in a sentence, and repaired by the next `up`."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError

from tests.engine.applications import Account, accounts, differences
from tests.engine.platform import Platform

OWN_BEFORE, OWN_AFTER = "OWN_SETTING='one'\n", "# The librarian's.\nOTHER_SETTING='two words'\n"


@pytest.fixture(scope="module")
def clients(running: Platform) -> Iterator[dict[str, Account]]:
    """All applications, with lines of their own around the platform's block."""
    with accounts(running) as made:
        file = made["librarian"].folder / "server.env"
        text = file.read_text()
        file.write_text(OWN_BEFORE + text + OWN_AFTER)
        yield made
        file.write_text(text)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _logins_by_hand(clients: dict[str, Account]) -> dict[str, str]:
    platform = clients["librarian"].platform
    platform.psql("ALTER ROLE librarian_user CONNECTION LIMIT 99")
    platform.psql("ALTER ROLE reporting_user CREATEDB")
    platform.psql("ALTER DATABASE trading OWNER TO platform_admin")
    platform.psql("ALTER ROLE librarian_user PASSWORD 'by-hand-and-forgotten'")
    _edit(clients["reporting"].folder / "server.env", "@pgbouncer:6432/", "@pgbouncer:5432/")
    (clients["trading-app"].folder / "server.env").chmod(0o644)
    platform.redis().execute_command("ACL SETUSER librarian allkeys +keys")
    return {
        "application-librarian-account": r"librarian_user has the connection limit 99, not 10",
        "application-reporting-account": r"reporting_user has CREATEDB",
        "application-trading-app-account": r"database trading is owned by platform_admin, not by trading_app_owner",
        "application-librarian-password": r"librarian_user has another password",
        "application-reporting-password": r"apps/reporting/server\.env was edited",
        "application-trading-app-password": r"apps/trading-app/server\.env has not mode 0600",
        "redis-settled": r"librarian has other rights",
    }


def _rights_by_hand(clients: dict[str, Account]) -> dict[str, str]:
    platform = clients["librarian"].platform
    platform.psql("REVOKE CONNECT ON DATABASE librarian FROM librarian_user")
    platform.psql(
        "ALTER DEFAULT PRIVILEGES FOR ROLE reporting_owner REVOKE SELECT ON TABLES FROM reporting_readonly",
        database="reporting",
    )
    platform.psql("GRANT librarian_owner TO trading_app_user")
    _edit(clients["librarian"].folder / "server.env", "DATABASE_NAME=", "DATABASE_NAMES=")
    (clients["reporting"].folder / "server.env").unlink()
    platform.redis().execute_command("ACL SETUSER intruder on nopass ~* &* +@all")
    # The platform's own two.
    platform.psql("ALTER ROLE platform_admin PASSWORD 'by-hand-and-forgotten'")
    (platform.srv / "config/pgbouncer/userlist.txt").chmod(0o444)
    return {
        "postgres-password": r"platform_admin has another password",
        "pgbouncer-password": r"userlist\.txt has not mode 0400",
        "application-librarian-account": r"librarian_user has no CONNECT on database librarian",
        "application-reporting-account": r"reporting_readonly is not given SELECT on new tables of database reporting",
        "application-trading-app-account": r"trading_app_user is a member of librarian_owner",
        "application-librarian-password": r"apps/librarian/server\.env was edited",
        "application-reporting-password": r"apps/reporting/server\.env is missing",
        "redis-settled": r"intruder is not of the platform",
    }


def _objects_by_hand(clients: dict[str, Account]) -> dict[str, str]:
    platform = clients["librarian"].platform
    platform.psql("DROP EXTENSION pg_trgm", database="librarian")
    platform.psql("GRANT CREATE ON SCHEMA public TO PUBLIC", database="reporting")
    # What a session may do by itself; the next table is then the login's.
    for pooled in (True, False):
        with clients["trading-app"].connect(pooled=pooled) as client:
            client.execute("SET ROLE NONE")
            client.execute(f"CREATE TABLE astray_{'pooled' if pooled else 'direct'} ()".encode())
            client.execute("RESET ROLE")
    return {
        "application-librarian-account": r"pg_trgm",
        "application-reporting-account": r"everybody has CREATE on schema public of database reporting",
        "application-trading-app-account": r"trading_app_user",
    }


BY_HAND = (_logins_by_hand, _rights_by_hand, _objects_by_hand)


@pytest.mark.parametrize("by_hand", BY_HAND, ids=lambda change: change.__name__.strip("_"))
def test_changes_by_hand_are_found_and_repaired(
    running: Platform, clients: dict[str, Account], by_hand: Callable[[dict[str, Account]], dict[str, str]]
) -> None:
    """Each of the changes is alone in its own resource; what was repaired before is not found again."""
    expected = by_hand(clients)
    try:
        running.stack.refresh()
        found = differences(running)
        assert set(found) == set(expected)
        for name, words in expected.items():
            (sentence,) = found[name]
            assert re.search(words, sentence), sentence
    finally:
        repaired = running.up()
    assert set(repaired.operations()) == {f"platform-{name}" for name in expected}


def test_nothing_is_left_to_do(running: Platform, clients: dict[str, Account]) -> None:
    assert running.up(refresh=True).operations() == {}
    assert differences(running) == {}
    assert running.redis().execute_command("ACL GETUSER", "intruder") is None
    for account in clients.values():
        for pooled in (True, False):
            with account.connect(pooled=pooled) as client:
                assert client.execute("SELECT current_user").fetchone() == (account.owner,)
    with clients["librarian"].redis() as client, pytest.raises(NoPermissionError):
        client.get("reporting:key")
    astray = running.psql(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'astray%'", database="trading"
    )
    assert astray == "trading_app_owner"


def test_own_lines_of_server_env_are_kept(clients: dict[str, Account]) -> None:
    text = (clients["librarian"].folder / "server.env").read_text()
    for own in (OWN_BEFORE, OWN_AFTER):
        assert text.count(own) == 1
    said = clients["librarian"].environment
    assert text.count("# BEGIN central-data-platform") == text.count("# END central-data-platform") == 1
    assert said()["OWN_SETTING"] == "one"
