"""Entries of `applications` that go, come, change and come back, and what is then left of them.

The module changes the settings once, looks, and changes them back: reporting goes, trading-app's waiver ends in a strong password,
the librarian may do more in Redis, and applications come whose names and passwords mean something to SQL, sh, URLs and files.
"""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from redis.connection import parse_url
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.engine.applications import Account, accounts
from tests.engine.platform import PROJECT, Platform, Run

SMALL = {"pool": 1, "directConnections": 2}
LONGEST = "L" + "-o_N-g" * 10 + "er"
ODD: dict[str, dict[str, Any]] = {
    # Reserved words, upper case and hyphens; then the words of pg_hba.conf; then all that fits.
    "order": {"database": "Trading-DB", "user": "select", "redis": True, **SMALL},
    "select": {"database": "all", "user": "samerole", "redis": True, **SMALL},
    "user": {"database": "replication", "user": "all", "redis": True, **SMALL},
    "longest-name-that-an-application-can-get": {"database": LONGEST, "user": LONGEST.lower(), **SMALL},
}
ODD_SECRETS = {
    "order": {
        "database": """'; DROP ROLE platform_admin; -- "quoted" $HOME""",
        "redis": """a'b"c\\d$e%f@g/h:i#j k?l&m=n+o""",
    },
    "select": {
        "database": """100%41 of #1: p@ss/w:rd? \\\\ $(touch here) ${HOME} &=+""",
        "redis": """$(touch here) `touch here` %n "x" \\n {} ~* +@all >x""",
    },
    "user": {
        "database": """:"role" :'verifier' \\! touch here \\gexec $$ $1 'x' E'\\\\'""",
        "redis": """ends in backslashes and begins with #123 \\\\""",
    },
    "longest-name-that-an-application-can-get": {
        "database": """   blanks before and behind, and {"json": []}   """
    },
}
STRONG = "now-a-strong-one-for-Tr4ding"
DROP = "apps/drop-application.sh"
OWN_LINE = "REPORT_COLOUR='green'\n"


class Changed:
    """The change, how to undo it, and what became of what was open before."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.settings: dict[str, dict[str, Any]] = deepcopy(platform.config["applications"])
        self.secrets = deepcopy(platform.application_secrets)
        self.preview = Run("")
        self.ended: dict[str, bool] = {}
        self._done = False

    def account(self, name: str) -> Account:
        """Its clients are on this machine: nobody is bound to an address."""
        return Account(self.platform, name)

    def do(self) -> None:
        """The change, in one `up`."""
        with accounts(self.platform) as before:
            for account in before.values():
                _remember_something(account)
            file = before["reporting"].folder / "server.env"
            file.write_text(OWN_LINE + file.read_text())
            sessions = {
                "direct": before["reporting"].connect(pooled=False),
                "pooled": before["reporting"].connect(),
                "other": before["librarian"].connect(pooled=False),
            }
            asks: dict[str, Callable[[], object]] = {
                name: partial(client.execute, "SELECT 1") for name, client in sessions.items()
            }
            asks["redis"] = before["reporting"].redis().ping
            for ask in asks.values():
                ask()

        settings, secrets = deepcopy(self.settings), deepcopy(self.secrets)
        del settings["reporting"], secrets["reporting"]
        del settings["trading-app"]["passwordWaiver"], settings["trading-app"]["address"]
        secrets["trading-app"]["database"] = STRONG
        settings["librarian"]["redis"] = {"allow": ["scan", "scripts"]}
        self._write({**settings, **ODD}, {**secrets, **ODD_SECRETS})
        self.preview = self.platform.preview(diff=True)
        self.platform.up()
        self.ended = {name: _has_ended(ask) for name, ask in asks.items()}
        for client in sessions.values():
            client.close()

    def undo(self) -> None:
        """Back, in one `up`."""
        if not self._done:
            self._done = True
            self._write(self.settings, self.secrets)
            self.platform.up()

    def _write(self, settings: dict[str, Any], secrets: dict[str, dict[str, str]]) -> None:
        self.platform.config["applications"] = settings
        self.platform.application_secrets.clear()
        self.platform.application_secrets.update(deepcopy(secrets))
        self.platform.write_config()


def _has_ended(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except (psycopg.OperationalError, redis.RedisError):
        return True
    return False


def _remember_something(account: Account) -> None:
    with account.connect(pooled=False) as client:
        client.execute("DROP TABLE IF EXISTS remembered")
        client.execute("CREATE TABLE remembered AS SELECT n FROM generate_series(1, 1000) n")
    if account.settings.get("redis"):
        with account.redis() as client:
            client.set(f"{account.name}:remembered", "still here")


@pytest.fixture(scope="module")
def changed(running: Platform) -> Iterator[Changed]:
    """The platform after the change."""
    change = Changed(running)
    try:
        change.do()
        yield change
    finally:
        change.undo()


@pytest.fixture(scope="module")
def restored(changed: Changed) -> Platform:
    """The platform after the change back."""
    changed.undo()
    return changed.platform


def test_the_preview_says_that_access_is_closed_and_data_kept(changed: Changed) -> None:
    said = changed.preview.output
    about = [line for line in said.splitlines() if "reporting" in line]
    assert any("closed" in line and "kept" in line for line in about), about
    assert "drop-application" in said


def test_open_sessions_of_a_removed_application_have_ended(changed: Changed) -> None:
    assert changed.ended == {"direct": True, "pooled": True, "redis": True, "other": False}


def test_a_removed_application_gets_in_nowhere(changed: Changed) -> None:
    platform = changed.platform
    for port in (5432, 6432):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                host="127.0.0.1",
                port=port,
                user="reporting_user",
                password=changed.secrets["reporting"]["database"],
                dbname="reporting",
                connect_timeout=10,
            )
    with pytest.raises(AuthenticationError):
        changed.account("librarian").redis(
            username="reporting", password=changed.secrets["reporting"]["redis"]
        )
    login = "SELECT rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = 'reporting_user'"
    assert platform.psql(login) == "f|t"


def test_a_removed_application_s_data_is_kept(changed: Changed) -> None:
    assert changed.platform.psql("SELECT count(*) FROM remembered", database="reporting") == "1000"
    assert changed.platform.redis().get("reporting:remembered") == b"still here"


def test_its_files_hold_no_password_any_more_and_its_own_lines(changed: Changed) -> None:
    folder = changed.platform.srv / "apps/reporting"
    assert (folder / "server.env").read_text() == OWN_LINE
    held = [path for path in folder.rglob("*") if path.is_file() and "DATABASE_PASSWORD" in path.read_text()]
    assert held == []


def test_a_second_up_changes_nothing(changed: Changed) -> None:
    assert changed.platform.up(refresh=True).operations() == {}


def test_what_the_settings_name_is_not_dropped(changed: Changed) -> None:
    drop = str(changed.platform.srv / DROP)
    for name in ("librarian", "trading-app", "order"):
        ran = changed.platform.run([drop, name, "--yes"], check=False)
        assert ran.returncode == 1
        assert f"application {name} is in the settings" in ran.stderr
    for name in ("", "../librarian", "x; id", "Librarian", "postgres' OR true --"):
        ran = changed.platform.run([drop, name, "--yes"], check=False)
        assert ran.returncode == 1
        assert len(ran.stderr.splitlines()) == 1
    with changed.account("librarian").connect() as client:
        assert client.execute("SELECT count(*) FROM remembered").fetchone() == (1000,)


@pytest.mark.parametrize("pooled", [True, False], ids=["pooler", "direct"])
def test_without_its_waiver_it_is_reachable_from_everywhere(changed: Changed, pooled: bool) -> None:
    account = changed.account("trading-app")
    with account.connect(pooled=pooled) as client:
        assert client.execute("SELECT count(*) FROM remembered").fetchone() == (1000,)
    account.refused(
        pooled=pooled, password="6432", match="(?i)password authentication failed|SASL authentication failed"
    )


def test_the_waiver_is_shown_no_more(changed: Changed) -> None:
    outputs = changed.platform.stack.outputs()["applications"].value
    assert not outputs["trading-app"]["passwordWaiver"]
    ran = changed.platform.run([str(changed.platform.srv / "apps/status.sh"), "--json"])
    assert not [c for c in json.loads(ran.stdout)["checks"] if c["name"].startswith("waiver-")]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_and_passwords_work_by_every_connection_string(changed: Changed, name: str) -> None:
    account = changed.account(name)
    said, secrets = account.environment(), ODD_SECRETS[name]
    assert said["DATABASE_PASSWORD"] == secrets["database"]
    for pooled in (True, False):
        with account.connect(pooled=pooled) as client:
            assert client.execute("SELECT current_database(), session_user, current_user").fetchone() == (
                account.database,
                account.login,
                account.owner,
            )
            client.execute("CREATE TABLE IF NOT EXISTS own (note text)")
            client.execute("INSERT INTO own VALUES ('here')")
        for other in ("librarian", "trading", "postgres", "Trading-DB", "all", "replication", LONGEST):
            if other != account.database:
                account.refused(pooled=pooled, dbname=other)
        if name != "order":
            changed.account("order").refused(pooled=pooled, dbname=account.database)
        changed.account("librarian").refused(pooled=pooled, dbname=account.database)
    if "redis" in secrets:
        assert said["REDIS_PASSWORD"] == secrets["redis"]
        assert parse_url(said["REDIS_URL"])["password"] == secrets["redis"]
        with account.redis() as client:
            assert client.set(f"{name}:key", "here")
            with pytest.raises(NoPermissionError):
                client.get("librarian:key")


@pytest.mark.parametrize("name", ODD)
def test_compose_reads_server_env_as_sh_does(changed: Changed, name: str, tmp_path: Path) -> None:
    """By the words that platform.yaml itself gives."""
    account = changed.account(name)
    service = {
        "image": "any",
        "extends": {"file": str(account.folder / "platform.yaml"), "service": "application"},
    }
    file = tmp_path / "compose.yaml"
    file.write_text(json.dumps({"services": {"own": service}, "networks": {PROJECT: {"external": True}}}))
    env_file = str(account.folder / "server.env")
    words = ["docker", "compose", "-f", str(file), "--env-file", env_file, "config", "--format", "json"]
    own = json.loads(changed.platform.run(words).stdout)["services"]["own"]
    assert own["networks"][PROJECT]["aliases"] == [name]
    # What it prints is meant to be read by compose again.
    read = {key: value.replace("$$", "$") for key, value in own["environment"].items()}
    assert read == account.environment()


def test_nothing_was_run_that_stands_in_a_name_or_password(changed: Changed) -> None:
    platform = changed.platform
    assert platform.psql("SELECT rolsuper FROM pg_roles WHERE rolname = 'platform_admin'") == "t"
    for folder in (platform.project, platform.srv, *(platform.srv / "apps" / name for name in ODD)):
        assert not (folder / "here").exists()
    for container in ("postgres-db", "redis-cache", "pgbouncer"):
        assert platform.run(["docker", "exec", container, "ls", "here"], check=False).returncode != 0


def test_the_setting_allow_opens_just_that(changed: Changed) -> None:
    with changed.account("librarian").redis() as client:
        client.set("librarian:key", "mine")
        assert "librarian:key" in {key.decode() for key in client.scan_iter(match="librarian:*")}
        assert client.eval("return redis.call('get', KEYS[1])", 1, "librarian:key") == b"mine"
        loaded = client.script_load("return 42")
        assert client.evalsha(loaded, 0) == 42
        for refused in (
            "KEYS *",
            "RANDOMKEY",
            "INFO",
            "DBSIZE",
            "FUNCTION LIST",
            "FUNCTION FLUSH",
            "SCRIPT FLUSH",
            "SCRIPT KILL",
        ):
            with pytest.raises(NoPermissionError):
                client.execute_command(*refused.split(" "))
        for call in ("'get', 'trading-app:key'", "'keys', '*'", "'config', 'get', '*'", "'acl', 'list'"):
            with pytest.raises(redis.ResponseError):
                client.eval(f"return redis.call({call})", 0)
        with pytest.raises(redis.ResponseError):
            client.eval("return redis.call('get', KEYS[1])", 1, "order:key")


def test_added_again_it_finds_its_data(restored: Platform) -> None:
    account = Account(restored, "reporting")
    for pooled in (True, False):
        with account.connect(pooled=pooled) as client:
            assert client.execute("SELECT count(*), current_user FROM remembered").fetchone() == (
                1000,
                account.owner,
            )
    with account.redis() as client:
        assert client.get("reporting:remembered") == b"still here"
    assert (account.folder / "server.env").read_text().count(OWN_LINE) == 1


def test_with_its_waiver_again_it_is_bound_to_its_address_again(restored: Platform) -> None:
    for pooled in (True, False):
        Account(restored, "trading-app").refused(pooled=pooled)
    with accounts(restored) as again, again["trading-app"].connect() as client:
        assert client.execute("SELECT count(*) FROM remembered").fetchone() == (1000,)


def _all_there_is(platform: Platform) -> set[str]:
    """Databases, roles, and keys by their application."""
    names = platform.psql(
        "SELECT 'database ' || datname FROM pg_database UNION ALL SELECT 'role ' || rolname FROM pg_roles"
    )
    return {*names.splitlines(), *(f"key {key.decode()}" for key in platform.redis().scan_iter())}


def test_drop_application_asks_first(restored: Platform) -> None:
    before = _all_there_is(restored)
    asked = restored.run([str(restored.srv / DROP), "order"], check=False)
    assert asked.returncode == 1
    assert "nothing was deleted" in asked.stderr
    for named in ("Trading-DB", "select", "order_owner", "order:*"):
        assert named in asked.stdout
    assert _all_there_is(restored) == before


@pytest.mark.parametrize("name", ODD)
def test_drop_application_deletes_all_of_it_and_nothing_else(restored: Platform, name: str) -> None:
    sql, settings = name.replace("-", "_"), ODD[name]
    own = {f"database {settings['database']}", f"role {settings['user']}"}
    own |= {f"role {sql}_{suffix}" for suffix in ("owner", "readonly", "readwrite")}
    own |= {f"key {name}:key"} if "redis" in settings else set()
    # What somebody gave it elsewhere is not in the way.
    restored.psql(f'GRANT CONNECT ON DATABASE librarian TO "{settings["user"]}"')
    before = _all_there_is(restored)
    assert own <= before
    restored.run([str(restored.srv / DROP), name, "--yes"])
    assert _all_there_is(restored) == before - own


def test_dropping_again_is_no_fault(restored: Platform) -> None:
    before = _all_there_is(restored)
    restored.run([str(restored.srv / DROP), "order", "--yes"])
    assert _all_there_is(restored) == before


def test_after_all_of_it_nothing_is_left_to_do(restored: Platform) -> None:
    assert restored.up(refresh=True).operations() == {}
    with Account(restored, "librarian").connect() as client:
        assert client.execute("SELECT count(*) FROM remembered").fetchone() == (1000,)
