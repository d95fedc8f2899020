"""Drills: the newest backup is restored beside the platform and checked; what is wrong with it is found, and nothing else is touched."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.backups import kill
from tests.engine.object_store import OffSite, off_site
from tests.engine.platform import CONTAINERS, Platform
from tests.waiting import until

QUERIES = [
    ("librarian", "librarian", "SELECT count(*) = 500 AND current_user = 'librarian_owner' FROM drilled"),
    ("librarian", "librarian", "SELECT count(*) = 499 FROM drilled"),
]


@pytest.fixture(scope="module")
def off(running: Platform) -> Iterator[OffSite]:
    """A platform with a table, a key in Redis and a backup that is off-site."""
    # Keys of other tests are not counted here.
    running.redis().flushall()
    with off_site(running) as made:
        running.psql(
            "SET ROLE librarian_owner; CREATE TABLE drilled AS SELECT generate_series(1, 500) AS id; "
            "CREATE UNIQUE INDEX drilled_id ON drilled (id)",
            database="librarian",
        )
        running.redis().mset({"librarian:one": "1", "librarian:two": "2"})
        try:
            made.must("backup.sh")
            yield made
        finally:
            running.psql("DROP TABLE drilled", database="librarian")
            running.redis().delete("librarian:one", "librarian:two")


@pytest.fixture
def small(off: OffSite) -> Iterator[Path]:
    """No off-site store, and a run of the database that matters alone, which a test may tamper with."""
    store = off.store.repository
    # One from the future is taken only where there is no other: all of them step aside, those of other tests too.
    others = sorted(path for path in (off.backups / "dumps").iterdir() if path.name[0].isdigit())
    newest = others[-1]
    folder = newest.with_name("20991231T235959Z")
    shutil.copytree(newest, folder)
    listed = (folder / "databases.tsv").read_text().splitlines(keepends=True)
    (folder / "databases.tsv").write_text(
        "".join(line for line in listed if line.startswith(("librarian\t", "postgres\t")))
    )
    for other in others:
        other.rename(other.with_name(f".{other.name}"))
    off.write_settings(OFFSITE="")
    _sum(folder)
    # These are about dumps.
    base = off.backups / "base"
    base.rename(off.backups / ".base")
    try:
        yield folder
    finally:
        (off.backups / ".base").rename(base)
        off.write_settings(OFFSITE=store)
        shutil.rmtree(folder)
        for other in others:
            other.with_name(f".{other.name}").rename(other)


def _sum(folder: Path) -> None:
    subprocess.run("rm SHA256SUMS; sha256sum * >sums; mv sums SHA256SUMS", shell=True, cwd=folder, check=True)  # noqa: S602


def _latest(off: OffSite) -> dict[str, Any]:
    return json.loads((off.backups / "drills/latest.json").read_text())


def _checks(off: OffSite) -> dict[str, str]:
    return {check["name"]: check["state"] for check in _latest(off)["checks"]}


def _failed(off: OffSite) -> dict[str, str]:
    return {check["name"]: check["detail"] for check in _latest(off)["checks"] if check["state"] == "fail"}


def _newest_base(off: OffSite) -> str:
    return max(path.parent.name for path in off.backups.glob("base/*/info"))


def _platform_as_it_is(platform: Platform) -> list[str]:
    """What would tell that a container was stopped, made again or changed."""
    words = ["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.HostConfig.Memory}}"]
    return platform.docker(*words, *CONTAINERS).splitlines()


def _left(off: OffSite) -> list[str]:
    return off.platform.docker("ps", "--all", "--format", "{{.Names}}", "--filter", "name=drill").split()


def test_a_killed_drill_touches_nothing_and_the_next_cleans_up(off: OffSite) -> None:
    before = _platform_as_it_is(off.platform)
    process = off.start("drill.sh")
    ready = ["docker", "exec", "postgres-drill", "pg_isready", "--quiet"]
    until(
        lambda: off.platform.run(ready, check=False).returncode == 0,
        seconds=120,
        what="the drill's PostgreSQL",
    )
    facts = json.loads(off.platform.docker("inspect", "postgres-drill"))[0]
    assert facts["HostConfig"]["NetworkMode"] == "none"
    assert facts["HostConfig"]["Memory"] == 2**30
    assert not facts["HostConfig"]["PortBindings"]
    kill(process)
    assert _left(off)
    with off.platform.connect(database="librarian", pooled=False) as client:
        assert client.execute("SELECT count(*) FROM drilled").fetchone() == (500,)

    (off.settings / "drill-queries.tsv").write_text(
        "".join(f"{a}\t{d}\t{base64.b64encode(sql.encode()).decode()}\n" for a, d, sql in QUERIES[:1])
    )
    # Newer than the dumps.
    off.platform.psql("INSERT INTO drilled VALUES (501); DELETE FROM drilled WHERE id = 501", "librarian")
    off.must("offsite.sh", "wal")
    out = off.must("drill.sh")
    assert "off-site run" in out
    assert _left(off) == []
    assert not (off.backups / ".drill").exists()
    assert _platform_as_it_is(off.platform) == before

    # And all is well with the backup.
    report = _latest(off)
    assert (report["schema"], report["source"], report["result"]) == (1, "off-site", "ok")
    assert set(_checks(off).values()) == {"ok"}
    expected = {"fetch", "sums", "globals", "rows librarian", "rows postgres", "amcheck", "probe", "redis"}
    assert expected | {"query 1 of librarian"} <= set(_checks(off))
    assert 0 < report["rto_seconds"] < 300
    assert 0 <= report["rpo_seconds"] < 600
    page = (off.backups / "drills/latest.md").read_text()
    assert f"Newest row: {report['rpo_seconds']} s old" in page

    # The physical way: the base backup, and what was committed after it and has left as WAL alone.
    recovery = report["point_in_time"]
    assert (recovery["base"], recovery["result"]) == (_newest_base(off), "ok")
    assert {"base fetch", "base recovery", "base amcheck", "base probe"} <= set(_checks(off))
    assert 0 < recovery["rto_seconds"] < 300
    assert 0 <= recovery["rpo_seconds"] < 600
    details = {check["name"]: check["detail"] for check in report["checks"]}
    written, committed = (details[name].split(" is of ")[1].split(",")[0] for name in ("probe", "base probe"))
    assert written < committed
    assert f"Newest commit: {recovery['rpo_seconds']} s old" in page
    assert off.state("drill")[0] == "ok"


def test_a_corrupted_index_and_a_missing_key_are_found(off: OffSite, small: Path, tmp_path: Path) -> None:
    """The copy's index lacks a row; a key that the manifest counts is not in the dump of Redis."""
    manifest = small / "manifest.json"
    text = manifest.read_text()
    assert '"keys": 2,' in text
    manifest.write_text(text.replace('"keys": 2,', '"keys": 3,'))
    _sum(small)
    damage = (
        'docker exec --user 0:0 postgres-drill psql -qU platform_admin -d librarian -c "UPDATE pg_index SET indisready = false, '
        "indisvalid = false WHERE indexrelid = 'drilled_id'::regclass\" -c 'DELETE FROM drilled WHERE id = 7' -c 'INSERT INTO drilled "
        "VALUES (7)' -c \"UPDATE pg_index SET indisready = true, indisvalid = true WHERE indexrelid = 'drilled_id'::regclass\" >&2"
    )
    ran = off.run("drill.sh", PATH=off.docker_before(tmp_path / "bin", "pg_amcheck", damage))
    assert ran.returncode == 1
    failed = _failed(off)
    assert set(failed) == {"amcheck", "redis"}, failed
    assert "drilled_id" in failed["amcheck"]
    assert failed["redis"] == "2 keys are loaded, in the backup there were 3"
    assert off.state("drill")[0] == "fail"


def test_missing_rows_and_a_false_answer_are_found(off: OffSite, small: Path) -> None:
    rows = small / "librarian.rows.tsv"
    rows.write_text(rows.read_text().replace("public.drilled\t500", "public.drilled\t501"))
    _sum(small)
    (off.settings / "drill-queries.tsv").write_text(
        "".join(f"{a}\t{d}\t{base64.b64encode(sql.encode()).decode()}\n" for a, d, sql in QUERIES)
    )
    assert off.run("drill.sh").returncode == 1
    assert _failed(off) == {
        "rows librarian": "public.drilled has 500 rows, in the backup it had 501",
        "query 2 of librarian": "it did not answer with one row that says true, as librarian_user in librarian",
    }
    assert _latest(off)["source"] == "local"
    assert _latest(off)["point_in_time"]["result"] == "none"
    assert _checks(off)["base fetch"] == "warn"


def test_a_damaged_file_ends_the_drill_before_anything_is_restored(off: OffSite, small: Path) -> None:
    dump = small / "librarian.dump"
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    ran = off.run("drill.sh")
    assert ran.returncode == 1
    assert _failed(off) == {"sums": "librarian.dump: FAILED"}
    assert "librarian.dump: FAILED" in off.state("drill")[1]
    assert not (off.backups / ".drill").exists()


def test_an_outage_is_a_failed_drill_with_a_report(off: OffSite) -> None:
    with off.store.away():
        assert off.run("drill.sh").returncode == 1
    assert "cannot be reached" in _failed(off)["fetch"]
