"""The off-site copy on a real S3 server: what is pushed comes back, outages and killed runs lose nothing, nothing is readable there."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.engine.backups import kill
from tests.engine.object_store import BUCKET, OffSite, off_site, rclone
from tests.engine.platform import Platform

PLANTED = "a row that nobody else may read"


@pytest.fixture(scope="module")
def off(running: Platform) -> Iterator[OffSite]:
    """A platform that has made a backup and sent it off-site."""
    with off_site(running) as made:
        running.psql(f"CREATE TABLE planted AS SELECT '{PLANTED}' AS words FROM generate_series(1, 1000)")
        try:
            made.must("backup.sh")
            yield made
        finally:
            running.psql("DROP TABLE planted")


def tree(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Mode, owner, group and content of every file."""
    found: dict[str, tuple[int, int, int, bytes]] = {}
    for path in folder.rglob("*"):
        facts = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_uid, facts.st_gid, content)
    return found


def runs(off: OffSite) -> list[str]:
    """Names of the runs on this machine."""
    return sorted(path.name for path in (off.backups / "dumps").iterdir() if not path.name.startswith("."))


def later_run(off: OffSite, megabytes: int = 0) -> str:
    """Another finished run, a second after the newest."""
    newest = runs(off)[-1]
    moment = datetime.strptime(newest, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=1)
    name = f"{moment:%Y%m%dT%H%M%SZ}"
    folder = off.backups / "dumps" / name
    shutil.copytree(off.backups / "dumps" / newest, folder)
    with (folder / "random.dump").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(2**20))
    subprocess.run("rm SHA256SUMS; sha256sum * >sums; mv sums SHA256SUMS", shell=True, cwd=folder, check=True)  # noqa: S602
    return name


def pushed(off: OffSite) -> list[str]:
    """Runs that the store has, by what `status` shows."""
    lines = off.must("offsite.sh", "status").splitlines()
    return sorted(line.split()[-1] for line in lines if line.endswith("Z"))


def test_what_comes_back_is_the_same_byte_for_byte(off: OffSite, tmp_path: Path) -> None:
    assert off.state("offsite-dumps")[0] == off.state("offsite-wal")[0] == "ok"
    # Not finished, so not pushed; and packed while it is looked at.
    (off.backups / "dumps/.20200101T000000Z.new").mkdir()
    (off.backups / "wal/000000010000000000000000.gz.new").touch()
    try:
        off.must("offsite.sh", "wal")
    finally:
        (off.backups / "dumps/.20200101T000000Z.new").rmdir()
        (off.backups / "wal/000000010000000000000000.gz.new").unlink()
    assert pushed(off) == runs(off)
    run = runs(off)[-1]
    back = off.must("offsite.sh", "restore", "dumps", str(tmp_path / "dumps")).splitlines()[-1]
    assert back == str(tmp_path / "dumps" / run)
    assert tree(Path(back)) == tree(off.backups / "dumps" / run)
    off.must("offsite.sh", "restore", "wal", str(tmp_path / "wal"))
    assert tree(tmp_path / "wal/base") == tree(off.backups / "base")
    here, there = tree(off.backups / "wal"), tree(tmp_path / "wal/wal")
    # What is still being written has grown since.
    whole = {name for name in here if not name.endswith(".partial")}
    assert whole
    assert {name: there[name] for name in whole if name in there} == {n: here[n] for n in whole if n in there}
    assert not [name for name in there if name.endswith(".new")]


def test_a_restore_goes_only_into_an_empty_folder(off: OffSite, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    ran = off.run("offsite.sh", "restore", "dumps", str(tmp_path))
    assert (ran.returncode, ran.stderr) == (1, f"{tmp_path} is not empty; name another folder\n")
    ran = off.run("offsite.sh", "restore", "dumps", str(tmp_path / "new"), "20200101T000000Z")
    assert ran.returncode == 1
    assert "there is no run 20200101T000000Z" in ran.stderr


def test_nothing_in_the_store_is_readable(off: OffSite, tmp_path: Path) -> None:
    contents = b"".join(path.read_bytes() for path in off.store.objects(tmp_path))
    assert contents
    for word in (
        PLANTED,
        off.key,
        "librarian",
        "platform_admin",
        "SHA256SUMS",
        *off.platform.secrets.values(),
    ):
        assert word.encode() not in contents


def test_a_wrong_key_is_told_from_an_outage(off: OffSite) -> None:
    key = off.settings / "key"
    key.write_text("another\n")
    try:
        for action, state in (("push", "offsite-dumps"), ("wal", "offsite-wal")):
            ran = off.run("offsite.sh", action)
            assert ran.returncode == 1
            assert f"the key in {key} does not open {off.store.repository}" in off.state(state)[1]
    finally:
        key.write_text(f"{off.key}\n")
    off.must("offsite.sh", "wal")


def test_refused_credentials_are_told_from_an_outage(off: OffSite) -> None:
    file = off.settings / "s3-credentials"
    text = file.read_text()
    file.write_text(text.replace(off.store.secret_key, "another"))
    try:
        assert off.run("offsite.sh", "wal").returncode == 1
    finally:
        file.write_text(text)
    assert "the store refuses the credentials" in off.state("offsite-wal")[1]


def test_an_outage_loses_nothing_and_the_next_run_catches_up(off: OffSite, tmp_path: Path) -> None:
    before = pushed(off)
    with off.store.away():
        missed = [later_run(off), later_run(off)]
        off.platform.psql("INSERT INTO planted VALUES ('written during the outage'); SELECT pg_switch_wal()")
        ran = off.run("offsite.sh", "wal")
        assert ran.returncode == 1
        assert f"{off.store.repository}/wal cannot be reached" in ran.stderr
        assert "nothing is lost" in off.state("offsite-wal")[1]
        good = (off.backups / "state/offsite-wal.good").read_text()
    off.must("offsite.sh", "push")
    assert pushed(off) == sorted([*before, *missed])
    assert (off.backups / "state/offsite-wal.good").read_text() != good
    off.must("offsite.sh", "restore", "wal", str(tmp_path / "wal"))
    there = {path.name for path in (tmp_path / "wal/wal").iterdir()}
    assert {p.name for p in (off.backups / "wal").iterdir() if not p.name.endswith(".partial")} <= there


def test_rclone_reaches_the_same_repositories(off: OffSite) -> None:
    before = pushed(off)
    off.write_settings(OFFSITE=f"rclone:store:{BUCKET}", **rclone(off.store))
    try:
        assert pushed(off) == before
        off.must("offsite.sh", "wal")
        with off.store.away():
            ran = off.run("offsite.sh", "status")
        assert ran.returncode == 1
        assert "cannot be reached" in ran.stderr
    finally:
        off.write_settings(OFFSITE=off.store.repository)


class Watch(threading.Thread):
    """Looks at the command line and environment of every process, as often as it can."""

    def __init__(self, *words: str) -> None:
        super().__init__(daemon=True)
        self.words = [word.encode() for word in words]
        self.found: set[bytes] = set()
        self.seen: set[str] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        own = str(os.getpid())
        while not self.ended.is_set():
            for process in Path("/proc").iterdir():
                if not process.name.isdigit() or process.name == own:
                    continue
                try:
                    text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                    self.seen.add((process / "comm").read_text().strip())
                except OSError:
                    continue
                self.found |= {word for word in self.words if word in text}


def test_killed_pushes_leave_no_damage_and_no_process_shows_a_secret(off: OffSite) -> None:
    run = later_run(off, megabytes=60)
    before = tree(off.backups / "dumps" / run)
    for seconds in (1.2, 2.6, 4.0):
        process = off.start("offsite.sh", "push")
        time.sleep(seconds)
        kill(process)
    watch = Watch(off.key, off.store.secret_key)
    watch.start()
    out = off.must("offsite.sh", "push")
    watch.ended.set()
    watch.join()
    assert "restic" in watch.seen
    assert watch.found == set()
    assert off.key not in out
    assert run in pushed(off)
    # Reads every byte of both repositories.
    assert "dumps: all of it was read" in off.must("offsite.sh", "check")
    assert tree(off.backups / "dumps" / run) == before


def test_a_lost_machine_comes_back_from_the_store(off: OffSite, tmp_path: Path) -> None:
    """What was committed before the last minute's run is there, in a copy made of what the store has and nothing else."""
    platform, back = off.platform, tmp_path / "back"
    platform.psql("CREATE TABLE minutes (n int)")
    try:
        for n in range(3):
            platform.psql(f"INSERT INTO minutes VALUES ({n})")
            off.must("backup.d/wal.sh")
        platform.psql("INSERT INTO minutes VALUES (99)")
        off.must("offsite.sh", "restore", "wal", str(back))
        off.must("pitr.sh", "prepare", "latest", "--from", str(back))
        try:
            psql = [
                "docker",
                "exec",
                "postgres-pitr",
                "psql",
                "-XqtA",
                "-U",
                "platform_admin",
                "-d",
                "postgres",
                "-c",
            ]
            assert platform.run([*psql, "SELECT array_agg(n ORDER BY n) FROM minutes"]).stdout == "{0,1,2}\n"
        finally:
            off.must("pitr.sh", "drop")
    finally:
        platform.psql("DROP TABLE minutes")
