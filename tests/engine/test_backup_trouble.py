"""A disk that becomes full under a base backup or a restore, and a clock that jumps: what was good stays, and nothing half-made is left."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.backups import Backups
from tests.engine.platform import Platform
from tests.waiting import until

MEGABYTE = 2**20
DAY = 86_400
# Does not compress.
NOISE = """
    CREATE TABLE noise AS SELECT g AS id, (SELECT string_agg(decode(md5(g::text || n), 'hex'), '') FROM generate_series(1, 64) n) AS it
      FROM generate_series(1, 40000) g"""
SUM = "SELECT count(*), md5(string_agg(md5(it), '' ORDER BY id)) FROM noise"


@pytest.fixture
def backups(platform: Platform) -> Backups:
    return Backups(platform)


def _used(folder: Path) -> int:
    return int(subprocess.check_output(["du", "-sb", folder], text=True).split()[0])


@contextmanager
def _small(folder: Path, size: int) -> Iterator[None]:
    """The folder on a file system of its own, of so many bytes; what is in it then is kept."""
    aside = folder.with_name(f".{folder.name}.aside")
    facts = folder.stat()
    folder.rename(aside)
    folder.mkdir()
    options = f"size={size},mode={facts.st_mode & 0o7777:o},uid={facts.st_uid},gid={facts.st_gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        subprocess.run(["cp", "-a", f"{aside}/.", folder], check=True)
        shutil.rmtree(aside)
        yield
    finally:
        subprocess.run(["cp", "-a", f"{folder}/.", aside], check=True)
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()
        aside.rename(folder)


def _filled(folder: Path, left: int) -> str:
    """Commands that leave so many bytes free."""
    free = f"$(df --output=avail --block-size=1 {folder} | tail -n 1)"
    return f"fallocate --length $(({free} - {left})) {folder}/filler"


def test_a_full_disk_leaves_no_base_backup(backups: Backups, tmp_path: Path) -> None:
    base = backups.backups / "base"
    backups.must("backup.d/base.sh")
    kept = sorted(path.parent.name for path in base.glob("*/info"))
    needed = _used(backups.platform.srv / "data/postgres")
    with _small(base, _used(base) + needed + 64 * MEGABYTE):
        # It becomes full when there was room enough a moment ago.
        path = backups.docker_before(tmp_path / "bin", "pg_basebackup", _filled(base, 2 * MEGABYTE))
        ran = backups.run("backup.d/base.sh", "full", PATH=path)
        assert ran.returncode == 1
        assert "No space left on device" in ran.stderr.splitlines()[-1]
        assert (tmp_path / "bin/done").exists()
        assert backups.state("base")[0] == "fail"
        assert sorted(path.name for path in base.iterdir()) == [*kept, "filler"]
        assert "a base backup needs about" in backups.refused("backup.d/base.sh")
        (base / "filler").unlink()
        backups.must("backup.d/base.sh")
        assert backups.state("base")[0] == "ok"
    assert sorted(path.parent.name for path in base.glob("*/info"))[:-1] == kept


@contextmanager
def _on_a_small_disk(platform: Platform, room: int) -> Iterator[Path]:
    """PostgreSQL with so many bytes of room for its data."""
    data = platform.srv / "data/postgres"

    def serves() -> None:
        platform.docker("start", "postgres-db")
        until(lambda: platform.healthy("postgres-db"), seconds=180, what="postgres-db healthy")

    platform.docker("stop", "postgres-db")
    try:
        with _small(data, _used(data) + room):
            serves()
            try:
                yield data
            finally:
                # Also after a failure: what runs would hold on to this disk.
                platform.docker("stop", "postgres-db")
    finally:
        serves()


def test_a_full_disk_changes_no_database(backups: Backups, tmp_path: Path) -> None:
    platform = backups.platform
    backups.create("filling", NOISE)
    try:
        backups.must("backup.sh", "--dumps")
        run = backups.runs()[-1].name
        before = platform.psql(SUM, "filling")
        size = int(platform.psql("SELECT pg_database_size('filling')"))
        with _on_a_small_disk(platform, 4 * size) as data:
            path = backups.docker_before(
                tmp_path / "bin", "pg_restore --exit-on-error", _filled(data, size // 2)
            )
            process = backups.start("restore.sh", "filling", run, "--yes", PATH=path)
            # PostgreSQL goes down where it cannot write its WAL, and comes back when there is room.
            ready = ["docker", "exec", "postgres-db", "pg_isready", "--quiet"]
            until(
                lambda: process.poll() is not None or platform.run(ready, check=False).returncode != 0,
                seconds=120,
                what="a full disk",
            )
            (data / "filler").unlink()
            _, said = process.communicate(timeout=180)
            assert process.returncode == 1
            assert "could not be restored, and nothing was changed" in said
            until(lambda: platform.healthy("postgres-db"), seconds=180, what="postgres-db healthy")
            assert platform.psql(SUM, "filling") == before
            assert backups.left() == [], said
            (data / "filler").write_bytes(bytes(2 * size))
            assert "the restored copy needs about" in backups.refused("restore.sh", "filling", run, "--yes")
            (data / "filler").unlink()
        assert platform.psql(SUM, "filling") == before
    finally:
        backups.drop_all("filling%")


def _clock(folder: Path, days: int) -> str:
    """A PATH whose date is so many days ahead."""
    folder.mkdir()
    real = shutil.which("date")
    (folder / "date").write_text(
        f'#!/bin/sh\nfor word; do case $word in -d | -r) exec {real} "$@" ;; esac; done\n'
        f'exec {real} -d "@$(($({real} +%s) + {days * DAY}))" "$@"\n'
    )
    (folder / "date").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_clock_that_jumps_costs_no_good_backup(backups: Backups, tmp_path: Path) -> None:
    """Forward, back again, too far back, and right at last. Each run is kept, and the newest is the one that is restored."""
    made: list[Path] = []
    had = backups.runs()
    bases = {path.parent.name for path in backups.backups.glob("base/*/info")}
    for number, days in enumerate((400, 0, -40, 0)):
        path = _clock(tmp_path / str(number), days)
        backups.platform.psql(f"CREATE TABLE jump_{number} ()")
        backups.must("backup.sh", "--dumps", PATH=path)
        backups.must("backup.d/base.sh", PATH=path)
        (new,) = set(backups.runs()) - {*had, *made}
        made.append(new)
        assert all(backups.whole(run) for run in made if run.exists())
        # Whatever the clock says, the run just made and the newest one of before.
        assert new.exists()
        assert number == 0 or made[-2].exists() or number == 3
        time.sleep(1)
    try:
        assert made[0].exists()
        assert made[1].exists()
        assert made[3].exists()
        backups.must("restore.sh", "postgres", "--into", "after_the_jump")
        tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'jump_%'"
        assert backups.platform.psql(tables, "after_the_jump") == "4"
        # Base backups are put in the order in which they were made, so the last of them is what is gone on from.
        newest = sorted({path.parent.name for path in backups.backups.glob("base/*/info")} - bases)
        assert len(newest) == 4
        backups.must("pitr.sh", "prepare", "latest")
        words = ("exec", "postgres-pitr", "psql", "-XqtA", "-U", "platform_admin", "-c", tables, "postgres")
        assert backups.platform.docker(*words) == "4"
        backups.must("pitr.sh", "drop")
    finally:
        backups.platform.psql("DROP TABLE jump_0, jump_1, jump_2, jump_3")
        backups.drop_all("after_the_jump")
        shutil.rmtree(made[0], ignore_errors=True)
