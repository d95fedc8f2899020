"""A password below the strength rule: for a time, with a reason, and only from one address."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pulumi import automation

from tests.engine.applications import NOT_LET_IN, Account, place
from tests.engine.platform import PROJECT, Platform

NAME = "trading-app"
SERVERS = {"pgbouncer": 6432, "postgres-db": 5432}


def _psql(platform: Platform, server: str, database: str, *network: str) -> tuple[int, str]:
    """PostgreSQL's own client with the weak password, in a container of its own; what it said."""
    image = platform.docker("inspect", "--format", "{{.Image}}", "postgres-db")
    ask = (
        "read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=10;"
        f' exec psql -XqtA -h {server} -p {SERVERS.get(server, 5432)} -U trading_app_user -d {database} -c "SELECT current_user"'
    )
    ran = platform.run(
        ["docker", "run", "--rm", "-i", *network, "--entrypoint", "sh", image, "-c", ask],
        stdin=platform.application_secrets[NAME]["database"] + "\n",
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def _on_the_network(address: str | None = None) -> tuple[str, ...]:
    return ("--network", PROJECT, *(("--ip", address) if address else ()))


@pytest.fixture(scope="module")
def address(running: Platform) -> str:
    """The one from which it is let in."""
    return running.config["applications"][NAME]["address"]


@pytest.mark.parametrize("server", SERVERS)
def test_the_weak_password_is_good_at_its_address_only(running: Platform, server: str, address: str) -> None:
    assert running.application_secrets[NAME]["database"] == "6432"
    assert _psql(running, server, "trading", *_on_the_network(address)) == (0, "trading_app_owner\n")
    for network in (_on_the_network(), _on_the_network("172.28.0.201")):
        code, said = _psql(running, server, "trading", *network)
        assert code != 0
        assert any(words in said for words in NOT_LET_IN.split("|")) or "pg_hba.conf" in said, said
    # The host's own users come through the published port, and whoever is inside a server's container from 127.0.0.1.
    Account(running, NAME).refused(pooled=server == "pgbouncer")
    code, said = _psql(running, "127.0.0.1", "trading", "--network", f"container:{server}")
    assert code != 0


def test_it_gets_into_its_own_database_only(running: Platform, address: str) -> None:
    with place(running, address) as own:
        account = Account(running, NAME, own)
        for pooled in (True, False):
            with account.connect(pooled=pooled) as client:
                assert client.execute("SELECT current_database()").fetchone() == ("trading",)
            for database in ("librarian", "reporting", "postgres", "template1"):
                account.refused(pooled=pooled, dbname=database)


def test_its_role_is_hemmed_in(running: Platform) -> None:
    pool = running.config["applications"][NAME]["pool"]
    row = running.psql(
        "SELECT rolconnlimit, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
        " FROM pg_roles WHERE rolname = 'trading_app_user'"
    )
    assert row == f"{pool + 5}|f"


def test_preview_outputs_and_status_show_it(running: Platform) -> None:
    waiver = running.config["applications"][NAME]["passwordWaiver"]
    seen = running.preview()
    assert seen.operations() == {}
    assert NAME in seen.output
    assert waiver["reason"] in seen.output
    assert str(waiver["until"]) in seen.output
    said = running.stack.outputs()["applications"].value[NAME]["passwordWaiver"]
    assert waiver["reason"] in json.dumps(said)
    ran = running.run([str(running.srv / "apps/status.sh"), "--json"])
    checks = {check["name"]: check for check in json.loads(ran.stdout)["checks"]}
    check = checks[f"waiver-{NAME}"]
    assert check["state"] == "warn"
    assert waiver["reason"] in check["detail"]
    assert str(waiver["until"]) in check["detail"]
    assert [name for name in checks if name.startswith("waiver-")] == [f"waiver-{NAME}"]


def _day(days: int) -> str:
    return str(datetime.now(UTC).date() + timedelta(days=days))


def _with_waiver(platform: Platform, waiver: dict[str, Any] | None) -> dict[str, Any]:
    applications = deepcopy(platform.config["applications"])
    del applications[NAME]["passwordWaiver"]
    if waiver:
        applications[NAME]["passwordWaiver"] = waiver
    return applications


def test_an_ended_waiver_is_refused_and_nothing_changes(running: Platform) -> None:
    before = (running.ids(), running.psql("SELECT string_agg(rolname || rolpassword, ' ') FROM pg_authid"))
    ended = _with_waiver(running, {"reason": "its port is its password", "until": _day(-1)})
    with running.changed(applications=ended, redis={"maxmemory": 100}):
        for run in (running.preview, running.up):
            with pytest.raises(automation.CommandError, match=f"{NAME}.passwordWaiver ended on {_day(-1)}"):
                run()
    after = (running.ids(), running.psql("SELECT string_agg(rolname || rolpassword, ' ') FROM pg_authid"))
    assert after == before
    assert (
        running.docker("exec", "redis-cache", "grep", "maxmemory ", "/etc/redis/redis.conf")
        == "maxmemory 256mb"
    )


def test_a_weak_password_without_a_waiver_is_refused_by_its_key_and_not_shown(running: Platform) -> None:
    weak = "Zq7-canary"
    kept = deepcopy(running.application_secrets)
    running.application_secrets["librarian"]["database"] = weak
    try:
        with (
            running.changed(applications=_with_waiver(running, None)),
            pytest.raises(automation.CommandError) as failed,
        ):
            running.preview()
    finally:
        running.application_secrets.clear()
        running.application_secrets.update(kept)
        running.write_config()
    said = str(failed.value)
    for key, path in (
        ("librarian", "applicationPasswords.librarian.database"),
        (NAME, f'applicationPasswords["{NAME}"].database'),
    ):
        assert f"{PROJECT}:applicationPasswords.{key}.database has fewer than 16 characters" in said
        assert f"pulumi config set --secret --path '{path}'" in said
    assert weak not in said
    # "6432" stands in what is said of ports too: not in these sentences.
    assert not [line for line in said.splitlines() if "applicationPasswords" in line and "6432" in line]
