"""Passwords change while clients go on working: no transaction, no open connection and no careful client is lost."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg
import pytest

from tests.engine.applications import Account
from tests.engine.platform import CONTAINERS, Platform, canary
from tests.engine.rotating_client import Client, Holder, Load, Reader, Store, Stubborn
from tests.waiting import until

NAME = "librarian"
STORES = {"pooler": "DATABASE_URL", "direct": "DATABASE_DIRECT_URL", "redis": "REDIS_URL"}
# Past the pooler few: a connection that ends counts against the role's limit for another moment.
HOW_MANY = {"pooler": 3, "direct": 1, "redis": 2}
LEAST_PROMISED = 20


def _starts(platform: Platform) -> dict[str, str]:
    return {
        name: platform.docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", name)
        for name in CONTAINERS
    }


def _new_passwords(platform: Platform, *keys: str) -> None:
    """The application's and these, by a changed configuration and `up`, as an operator does it."""
    for key in keys:
        platform.secrets[key] = canary()
    for store in platform.application_secrets[NAME]:
        platform.application_secrets[NAME][store] = canary()
    platform.write_config()
    platform.up()


@pytest.fixture
def account(platform: Platform) -> Account:
    """With an empty place for promises."""
    made = Account(platform, NAME)
    with made.connect(pooled=False) as client:
        client.execute("DROP TABLE IF EXISTS promised")
        client.execute("CREATE TABLE promised (client text, number int)")
    redis = platform.redis()
    for key in redis.scan_iter(match=f"{NAME}:promised:*"):
        redis.delete(key)
    return made


def _clients(account: Account) -> list[Client]:
    file = account.folder / "server.env"
    made: list[Client] = []
    for where, key in STORES.items():
        for kind in (Holder, Reader):
            for number in range(HOW_MANY[where]):
                made.append(kind(f"{kind.__name__}-{where}-{number}", Store(key), file))
        made.append(Stubborn(f"Stubborn-{where}", Store(key), file))
    return made


def _kept(account: Account, client: Client) -> list[int]:
    """The numbers that the store has of a client, in order."""
    if client.store.key == "REDIS_URL":
        found = account.platform.redis().lrange(f"{NAME}:promised:{client.name}", 0, -1)
        return [int(number) for number in found]  # type: ignore[union-attr]
    rows = account.platform.psql(
        f"SELECT number FROM promised WHERE client = '{client.name}' ORDER BY number", database=NAME
    )
    return [int(number) for number in rows.splitlines()]


def test_rotation_under_load(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    platform, file = account.platform, account.folder / "server.env"
    clients = _clients(account)
    careful = [client for client in clients if not isinstance(client, Stubborn)]
    stubborn = [client for client in clients if isinstance(client, Stubborn)]
    starts = _starts(platform)
    operator, redis_operator = platform.connect(pooled=False), platform.redis()
    redis_operator.ping()

    with Load(clients):
        until(
            lambda: all(client.promised >= LEAST_PROMISED or client.failures for client in clients),
            seconds=60,
            what="every client works",
        )
        _new_passwords(platform)
        # A rename, which is the moment from which the file says the new password.
        switched = file.stat().st_ctime
        _new_passwords(platform, "pgbouncerAuthPassword")
        _new_passwords(platform, "postgresPassword", "redisAdminPassword")
        rotated = {client.name: client.promised for client in careful}
        until(
            lambda: all(c.promised >= rotated[c.name] + LEAST_PROMISED or c.failures for c in careful),
            seconds=60,
            what="every client works with the new passwords",
        )

    with capsys.disabled():
        print()
        for client in careful:
            refused = f", refused once: {dict(client.refused)}" if isinstance(client, Reader) else ""
            print(f"{client.name}: {client.promised} transactions{refused}")
        for client in stubborn:
            first = client.failures[0][0] - switched if client.failures else float("nan")
            kinds = Counter(words for _, words in client.failures)
            print(f"{client.name}: first failure {first * 1000:.0f} ms after the switch, {dict(kinds)}")

    assert [(client.name, client.failures) for client in careful if client.failures] == []
    for client in clients:
        assert _kept(account, client) == list(range(1, client.promised + 1)), client.name
    assert _starts(platform) == starts
    # Whoever never reads server.env again was good until the switch, in Redis until the end of that `up`.
    for client in stubborn:
        assert client.failures, client.name
        assert client.failures[0][0] >= switched - 0.1, client.name
    assert operator.execute("SELECT 1").fetchone() == (1,)
    operator.close()
    assert redis_operator.ping()
    with platform.connect() as again:
        assert again.execute("SELECT 1").fetchone() == (1,)
    assert platform.redis().ping()
    assert platform.up().operations() == {}


def test_the_gap_of_an_old_connection_that_needs_another_one_to_postgresql(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has logged in to the pooler with the new password yet, so it knows only the old one for its next connection.

    It remembers for a moment that the login failed, and tells that to whoever comes in that moment.
    """
    platform = account.platform
    told: list[str] = []

    def served(client: Callable[[], AbstractContextManager[psycopg.Connection[Any]]]) -> bool:
        try:
            with client() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error as error:
            told.append(" ".join(str(error).split()))
            return False

    with account.connect() as old:
        old.execute("SELECT 1")
        _new_passwords(platform)
        mine = (
            f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '{account.login}'"
        )
        platform.psql(mine)
        # Else the old client may yet be given one of them, and told of its end.
        servers = [str(platform.srv / "apps/pooler.sh"), "show", "servers"]
        until(
            lambda: account.login not in platform.run(servers).stdout,
            seconds=10,
            what="the pooler knows that its connections have ended",
        )
        begin = time.monotonic()
        assert not served(lambda: nullcontext(old))
        until(lambda: served(account.connect), seconds=10, what="a client with the new password is served")
        gap = time.monotonic() - begin
    with capsys.disabled():
        print(
            f"\nfrom the old connection's failure until a new one was served: {gap * 1000:.0f} ms, {Counter(told)}"
        )
    known = ("password authentication failed", "server login has been failing")
    assert [words for words in told if not any(each in words for each in known)] == []
