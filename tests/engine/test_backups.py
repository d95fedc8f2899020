"""Dumps that are made while everything goes on, and restored: rows, rights and settings are compared, not exit codes."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.engine.applications import Account
from tests.engine.backups import CONTENT, Backups, encoded
from tests.engine.platform import Platform
from tests.waiting import until

LONGEST = "nämé " * 9
ODD = ('it\'s "odd"/ünï %41\\x', "-dash", LONGEST)


@pytest.fixture(scope="module")
def backups(running: Platform) -> Iterator[Backups]:
    """The platform, and databases with all that is hard about them."""
    made = Backups(running)
    for name in ODD:
        made.create(name, CONTENT)
        with made.client("postgres") as client:
            for statement in (
                "ALTER DATABASE {} OWNER TO librarian_owner",
                "REVOKE ALL ON DATABASE {} FROM PUBLIC",
                "GRANT CONNECT ON DATABASE {} TO librarian_user WITH GRANT OPTION",
                'ALTER DATABASE {} SET search_path = "$user", public, \'odd "one\'',
                "ALTER DATABASE {} SET default_transaction_read_only = on",
                "ALTER ROLE librarian_user IN DATABASE {} SET work_mem = '5MB'",
                "COMMENT ON DATABASE {} IS 'it''s\nALTER DATABASE of two lines'",
            ):
                client.execute(sql.SQL(statement).format(sql.Identifier(name)))
    yield made
    for name in ODD:
        made.drop_all(name[:10] + "%")


@pytest.fixture(scope="module")
def run(backups: Backups) -> Path:
    """One whole run, which many tests restore from."""
    with backups.platform.redis() as client:
        client.set("backups:key", "value", ex=10_000)
        client.execute_command("SET", "backups:other", b"\x00\xff bytes")
    backups.must("backup.sh", "--dumps")
    return backups.runs()[-1]


def properties(backups: Backups, database: str) -> list[Any]:
    """Owner, rights, settings and comment."""
    with backups.client("postgres") as client:
        return client.execute(
            "SELECT datdba::regrole::text, datacl::text, shobj_description(d.oid, 'pg_database'), datcollate,"
            " array(SELECT setrole::regrole::text || setconfig::text FROM pg_db_role_setting WHERE setdatabase = d.oid ORDER BY 1)"
            " FROM pg_database d WHERE datname = %s",
            (database,),
        ).fetchall()


def test_a_run_is_whole_and_says_what_it_holds(backups: Backups, run: Path) -> None:
    assert backups.whole(run)
    assert backups.left() == []
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["schema"], manifest["run"], manifest["failed"]) == (1, run.name, [])
    assert {entry["name"] for entry in manifest["databases"]} >= {"postgres", "librarian", *ODD}
    (odd,) = [entry for entry in manifest["databases"] if entry["name"] == ODD[0]]
    assert (odd["tables"], odd["rows"]) == (5, 2000 + 500 + 300)
    assert odd["bytes"] == (run / odd["file"]).stat().st_size
    assert manifest["redis"]["keys"] >= 2
    assert {path.stat().st_mode & 0o777 for path in run.iterdir()} == {0o600}
    with backups.client("postgres") as client:
        assert client.execute("SELECT count(*) > 0 FROM platform.probe").fetchone() == (True,)


@pytest.mark.parametrize("name", ODD[::2], ids=("odd", "longest"))
def test_a_database_comes_back_row_for_row(backups: Backups, run: Path, name: str) -> None:
    before, owned = backups.fingerprint(name), properties(backups, name)
    with backups.client(name) as client:
        client.execute("SET default_transaction_read_only = off")
        client.execute(
            "DELETE FROM words; DROP TABLE parts; SELECT lo_unlink(oid) FROM pg_largeobject_metadata"
        )
    sentence = backups.refused("restore.sh", name)
    assert f"database '{name}' is there, and nothing was begun" in sentence
    said = backups.must("restore.sh", name, "--yes", run.name)
    assert backups.fingerprint(name) == before
    assert properties(backups, name) == owned
    # The other one is there as it was, under the name that was said.
    kept = said.split("What it was before is database '")[1].split("'; when")[0]
    assert len(kept.encode()) <= 63
    assert backups.fingerprint(kept) != before
    drop = said.strip().split("nobody needs it: sudo ")[1]
    backups.platform.run(["sh", "-c", drop])
    assert properties(backups, kept) == []
    assert backups.left() == []


def test_beside_it_a_database_comes_back_with_all_that_is_its(backups: Backups, run: Path) -> None:
    name = ODD[1]
    beside = "-dash beside"
    backups.must("restore.sh", name, str(run / f"{name}.dump"), "--into", beside)
    assert backups.fingerprint(beside) == backups.fingerprint(name)
    assert properties(backups, beside) == properties(backups, name)
    assert "is there already" in backups.refused("restore.sh", name, "--into", beside)
    backups.drop_all(beside)


def test_the_commands_of_the_manual_restore(backups: Backups, run: Path) -> None:
    backups.create("manual")
    backups.must("restore.sh", ODD[1], run.name, "--into", "manual dump")
    before = backups.fingerprint("manual dump")
    backups.platform.psql('ALTER DATABASE "manual dump" RESET ALL')
    with backups.client("manual dump") as client:
        client.execute("SET default_transaction_read_only = off")
        client.execute("DELETE FROM words; DROP TABLE empty; CREATE TABLE empty ()")
    docker = backups.platform.docker
    docker("cp", str(run / "-dash.dump"), "postgres-db:/tmp/")
    restore = ["exec", "-i", "postgres-db", "pg_restore", "-U", "platform_admin"]
    docker(*restore, "-d", "manual dump", "--clean", "/tmp/-dash.dump")
    docker("exec", "postgres-db", "rm", "/tmp/-dash.dump")
    assert backups.fingerprint("manual dump") == before
    backups.drop_all("manual%")


@contextlib.contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Something that is done over and over; what went wrong with it is in the list."""
    end, wrong = threading.Event(), list[BaseException]()

    def repeat() -> None:
        while not end.is_set() and not wrong:
            try:
                work()
            except BaseException as error:
                wrong.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield wrong
    finally:
        end.set()
        thread.join()


def test_what_is_written_meanwhile_is_there_as_a_whole_or_not_at_all(backups: Backups) -> None:
    backups.create(
        "busy",
        "CREATE TABLE debit (id serial, amount int); CREATE TABLE credit (id serial, amount int);"
        "CREATE TABLE emptied AS SELECT generate_series(1, 50)",
    )
    with backups.client("busy") as client:

        def write() -> None:
            with client.transaction():
                client.execute("INSERT INTO debit (amount) SELECT g FROM generate_series(1, 20) g")
                client.execute("INSERT INTO credit (amount) SELECT -g FROM generate_series(1, 20) g")
            with client.transaction():
                client.execute("TRUNCATE emptied")
                time.sleep(0.02)
                client.execute("INSERT INTO emptied SELECT generate_series(1, 50)")

        with meanwhile(write) as wrong:
            backups.must("backup.sh", "--dumps")
        assert wrong == []
    # This compares the rows with those that were counted.
    backups.must("restore.sh", "busy", "--into", "busy_again")
    with backups.client("busy_again") as client:
        counted = "SELECT (SELECT count(*) FROM debit), (SELECT count(*) FROM credit), (SELECT count(*) FROM emptied)"
        debits, credits, emptied = client.execute(counted).fetchone() or (0, 0, 0)
        assert debits == credits > 0
        # pg_dump's own limit: what is emptied at every moment may be dumped as empty.
        assert emptied in (0, 50)
    backups.drop_all("busy%")


def test_a_locked_table_keeps_only_its_database_from_being_dumped(backups: Backups) -> None:
    backups.create("locked", "CREATE TABLE t ()")
    with backups.client("locked") as client, client.transaction():
        client.execute("LOCK TABLE t")
        ran = backups.run("backup.sh", "--dumps", LOCK_WAIT_SECONDS="1")
    assert ran.returncode == 1
    assert "database locked was not dumped: one of its tables is locked by somebody" in ran.stderr
    newest = backups.runs()[-1]
    assert backups.whole(newest)
    assert not list(newest.glob("locked*"))
    assert (newest / "librarian.dump").exists()
    assert (backups.platform.srv / "backups/state/dumps").read_text().startswith("fail\t")
    backups.drop_all("locked")


def test_a_backup_that_is_killed_leaves_nothing_bad(backups: Backups, run: Path) -> None:
    chance = random.Random(6)  # noqa: S311 # moments, not secrets
    before = set(backups.runs())
    for attempt in range(10):
        process = backups.start("backup.sh", "--dumps")
        time.sleep(chance.uniform(0.1, 4))
        if not attempt:
            assert "is running" in backups.refused("backup.sh", "--dumps")
        # Half of the time what it has started lives on.
        if attempt % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate(timeout=30)
        assert all(backups.whole(path) for path in set(backups.runs()) - before)
        until(lambda: backups.left() == [], seconds=15, what="nothing left of a killed backup")
    assert backups.whole(run)
    backups.must("backup.sh", "--dumps")


def test_a_restore_that_is_killed_lets_clients_go_on(backups: Backups, run: Path) -> None:
    before = backups.fingerprint(ODD[1])
    process = backups.start("restore.sh", ODD[1], run.name, "--yes")
    marker = backups.platform.srv / "run/restore.paused"
    until(marker.exists, seconds=60, what="clients held back")
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    until(lambda: not marker.exists() and backups.left() == [], seconds=30, what="cleaned up")
    with backups.platform.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert backups.fingerprint(ODD[1]) == before


def test_a_full_disk_leaves_no_run(backups: Backups) -> None:
    backups.create("filling")
    backups.dumps.rename(backups.dumps.with_name("dumps.aside"))
    backups.dumps.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=250m", "tmpfs", backups.dumps], check=True)
    try:
        # Of what was in the server, not much was dumped: the next one is taken to be as small.
        backups.must("backup.sh", "--dumps")
        (good,) = backups.runs()
        with backups.client("filling") as client:
            client.execute(
                "CREATE TABLE noise AS SELECT string_agg(decode(md5(random()::text), 'hex'), '') AS it FROM generate_series(1, 5200000) g GROUP BY g % 1000"
            )
        subprocess.run(["mount", "-o", "remount,size=75m", backups.dumps], check=True)
        assert "full" in backups.refused("backup.sh", "--dumps")
        assert backups.runs() == [good]
        assert backups.whole(good)
        assert backups.left() == []
        (backups.dumps / "other").write_bytes(bytes(30_000_000))
        assert "this backup needs about" in backups.refused("backup.sh", "--dumps")
    finally:
        subprocess.run(["umount", backups.dumps], check=True)
        backups.dumps.rmdir()
        backups.dumps.with_name("dumps.aside").rename(backups.dumps)
        backups.drop_all("filling")


def test_a_damaged_dump_is_refused(backups: Backups, run: Path) -> None:
    dump = run / f"{encoded(ODD[0])}.dump"
    good = dump.read_bytes()
    for bad in (good[:-100], good[:5000] + b"x" + good[5001:]):
        dump.write_bytes(bad)
        assert "is damaged" in backups.refused("restore.sh", ODD[0], run.name, "--yes")
    # Without sums it is found out when it is read; nothing is replaced.
    elsewhere = backups.platform.srv / "backups/elsewhere.dump"
    elsewhere.write_bytes(good[: len(good) // 2])
    ran = backups.run("restore.sh", ODD[0], str(elsewhere), "--yes")
    assert ran.returncode == 1
    assert "nothing was changed" in ran.stderr
    elsewhere.unlink()
    dump.write_bytes(good)
    assert backups.left() == []


def test_missing_roles_are_named(backups: Backups) -> None:
    backups.create("orphan", 'CREATE ROLE "gone role"; CREATE TABLE t (); GRANT SELECT ON t TO "gone role"')
    backups.must("backup.sh", "--dumps")
    backups.drop_all("orphan")
    backups.platform.psql('DROP ROLE "gone role"')
    newest = backups.runs()[-1]
    assert backups.refused("restore.sh", "orphan") == (
        f'roles of this dump are missing: "gone role"; make them first, from {newest}/globals.sql'
    )
    elsewhere = backups.platform.srv / "backups/elsewhere.dump"
    shutil.copy(newest / "orphan.dump", elsewhere)
    ran = backups.run("restore.sh", "orphan", str(elsewhere))
    assert 'role "gone role" does not exist: make the roles first, from globals.sql' in ran.stderr
    elsewhere.unlink()


def test_clients_of_the_pooler_are_not_cut(backups: Backups) -> None:
    waits: list[float] = []
    account = Account(backups.platform, "reporting")
    with account.connect() as client:
        client.execute("CREATE TABLE IF NOT EXISTS visits (at timestamptz)")
    backups.must("backup.sh", "--dumps")
    with account.connect() as pooled, account.connect(pooled=False) as direct:

        def visit() -> None:
            began = time.monotonic()
            with pooled.transaction():
                pooled.execute("INSERT INTO visits VALUES (now())")
                pooled.execute("SELECT count(*) FROM visits")
            waits.append(time.monotonic() - began)
            time.sleep(0.01)

        with meanwhile(visit) as wrong:
            said = backups.must("restore.sh", "reporting", "--yes")
            until(lambda: len(waits) > 10, seconds=10, what="visits")
        assert wrong == []
        with pytest.raises(psycopg.OperationalError):
            direct.execute("SELECT 1")
    print(f"held back for {max(waits):.1f} s at most")
    assert max(waits) < 15
    kept = said.split("What it was before is database '")[1].split("'")[0]
    assert backups.platform.psql("SELECT count(*) > 0 FROM visits", kept) == "t"
    backups.platform.psql("DROP TABLE visits", "reporting")
    backups.drop_all(kept)


def test_a_client_that_holds_on_keeps_its_database(backups: Backups, run: Path) -> None:
    with Account(backups.platform, "librarian").connect() as client, client.transaction():
        client.execute("SELECT 1")
        ran = backups.run("restore.sh", "librarian", run.name, "--yes", POOLER_TIMEOUT="2")
        assert ran.returncode == 1
        assert "database 'librarian' was not replaced" in ran.stderr
        assert client.execute("SELECT 2").fetchone() == (2,)
    assert backups.left() == []


def test_redis_comes_back(platform: Platform, backups: Backups, run: Path) -> None:
    data = platform.srv / "data"
    sentence = backups.refused("restore-redis.sh", run.name)
    assert "nothing was begun" in sentence
    with platform.redis() as client:
        client.flushall()
        client.set("later", 1)

        # Killed while Redis is stopped: it is as it was.
        process = backups.start("restore-redis.sh", run.name, "--yes")
        until((platform.srv / "run/restore-redis.stopped").exists, seconds=60, what="Redis stopped")
        process.kill()
        process.communicate(timeout=30)
        until(lambda: platform.healthy("redis-cache"), seconds=60, what="redis-cache healthy")
        assert client.keys() == [b"later"]

        (run / "redis.rdb").rename(run / "redis.aside")
        (run / "redis.rdb").write_bytes((run / "redis.aside").read_bytes()[:-20])
        assert "is damaged" in backups.refused("restore-redis.sh", run.name, "--yes")
        (run / "redis.aside").replace(run / "redis.rdb")

        backups.must("restore-redis.sh", run.name, "--yes")
        assert client.get("backups:other") == b"\x00\xff bytes"
        assert 0 < client.ttl("backups:key") <= 10_000
        assert client.get("later") is None
        # It lives on in the append-only file.
        platform.docker("restart", "redis-cache")
        until(lambda: platform.healthy("redis-cache"), seconds=60, what="redis-cache healthy")
        assert client.get("backups:other") == b"\x00\xff bytes"
        client.delete("backups:key", "backups:other")
    assert {(p.stat().st_uid, p.stat().st_gid) for p in (data / "redis").rglob("*")} == {(999, 999)}
    (kept,) = data.glob("redis_before_*")
    shutil.rmtree(kept)
