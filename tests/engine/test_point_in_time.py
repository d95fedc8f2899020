"""PostgreSQL as it was at a moment: to a time, a transaction, a named point, the last commit; after a loss; with damaged WAL."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

import psycopg
import pytest

from tests.engine.platform import Platform
from tests.waiting import until

# The most that a loss of the whole data directory may cost.
LOSS_SECONDS = 5


class Recovery:
    """The scripts of point in time, and a table of numbers by which moments are told apart."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.backups = platform.srv / "backups"
        self.next = 0

    def script(self, name: str, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return self.platform.run([str(self.platform.srv / "apps" / name), *words], check=check)

    def pitr(self, *words: str) -> str:
        return self.script("pitr.sh", *words).stdout

    def refused(self, *words: str) -> str:
        """The one sentence with which pitr.sh refuses; it leaves nothing."""
        ran = self.script("pitr.sh", *words, check=False)
        assert ran.returncode == 1, ran.stdout
        assert not (self.platform.srv / "data/postgres-pitr").exists()
        lines = ran.stderr.splitlines()
        assert len(lines) == 1, ran.stderr
        return lines[0]

    def base(self, *words: str) -> str:
        return self.script("backup.d/base.sh", *words).stdout

    def bases(self) -> list[str]:
        return sorted(path.parent.name for path in self.backups.glob("base/*/info"))

    def commit(self) -> str:
        """One more number; the transaction's id."""
        self.next += 1
        return self.platform.psql(f"INSERT INTO numbers VALUES ({self.next}) RETURNING pg_current_xact_id()")

    def fill(self) -> None:
        """The rest of a segment, which ends with it."""
        self.platform.psql("SELECT pg_switch_wal()")

    def restored(self) -> list[int]:
        """The numbers of the prepared copy, as its operator looks at them."""
        words = ("exec", "postgres-pitr", "psql", "-XqtA", "-U", "platform_admin", "-d", "postgres", "-c")
        return [int(n) for n in self.platform.docker(*words, "SELECT n FROM numbers ORDER BY n").split()]

    def prepared(self, *words: str) -> list[int]:
        """What a target leads to."""
        self.pitr("prepare", *words)
        numbers = self.restored()
        self.pitr("drop")
        return numbers

    def state(self, name: str) -> str:
        return (self.backups / "state" / name).read_text().split("\t")[0]


@pytest.fixture(scope="module")
def module_recovery(running: Platform) -> Iterator[Recovery]:
    recovery = Recovery(running)
    running.psql("CREATE TABLE numbers (n int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp())")
    recovery.script("backup.d/wal.sh")
    recovery.base()
    yield recovery
    running.psql("DROP TABLE numbers")
    for left in running.srv.glob("data/postgres-before-*"):
        shutil.rmtree(left)


@pytest.fixture
def recovery(module_recovery: Recovery, platform: Platform) -> Iterator[Recovery]:
    yield module_recovery
    assert platform is module_recovery.platform
    module_recovery.script("pitr.sh", "drop", check=False)


class Writer(threading.Thread):
    """A client of PgBouncer that commits numbers one after the other until it is told to stop, or is turned away."""

    def __init__(self, recovery: Recovery) -> None:
        super().__init__()
        self.recovery = recovery
        self.committed: dict[int, float] = {}
        self.trouble: Exception | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            with self.recovery.platform.connect() as client:
                while not self.ended.is_set():
                    self.recovery.next += 1
                    client.execute("INSERT INTO numbers VALUES (%s)", (self.recovery.next,))
                    self.committed[self.recovery.next] = time.monotonic()
        except psycopg.Error as error:
            self.trouble = error

    def wait_for_more(self, count: int = 50) -> None:
        wanted = len(self.committed) + count
        until(lambda: len(self.committed) >= wanted, seconds=30, what="commits")

    def stop(self) -> None:
        self.ended.set()
        self.join()


def test_to_a_time_and_to_a_transaction(recovery: Recovery) -> None:
    recovery.commit()
    before = list(range(1, recovery.next + 1))
    time.sleep(1.1)  # a base counts as before a time when its second has passed
    moment = recovery.platform.psql("SELECT now()")
    xid = recovery.commit()
    recovery.fill()
    recovery.commit()
    # Too late for both.
    assert "incremental" in recovery.base()
    assert recovery.prepared(moment) == before
    assert recovery.prepared(f"xid:{xid}") == [*before, before[-1] + 1]
    listed = recovery.pitr("list")
    assert all(base in listed for base in recovery.bases())


def test_targets_that_cannot_be(recovery: Recovery) -> None:
    assert "is in the future" in recovery.refused("prepare", "2999-01-01 00:00:00+00")
    assert "the oldest moment is" in recovery.refused("prepare", "2001-01-01 00:00:00+00")
    assert "xid:4000000 is not in the WAL" in recovery.refused("prepare", "xid:4000000")


def _copied(recovery: Recovery, folder: Path) -> Path:
    """The backups as they come from off-site; the newest base is followed by three whole segments."""
    recovery.base()
    for _ in range(3):
        recovery.commit()
        recovery.fill()
    recovery.commit()
    newest = recovery.platform.psql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    until(lambda: (recovery.backups / f"wal/{newest}.partial").exists(), seconds=20, what=newest)
    recovery.script("backup.d/wal.sh")
    for name in ("base", "wal"):
        recovery.platform.run(["cp", "-a", str(recovery.backups / name), str(folder)])
    # All that wal.sh has gzipped, but the newest.
    return sorted((folder / "wal").glob("0*[0-9A-F].gz"))[-2]


def _recoverable(recovery: Recovery, sentence: str, folder: Path) -> list[int]:
    """The numbers at the moment that a refusal has named."""
    target = sentence.rpartition("prepare ")[2].rstrip(")")
    return recovery.prepared(target, "--from", str(folder))


def test_damaged_wal_is_no_end(recovery: Recovery, tmp_path: Path) -> None:
    """Without a word, PostgreSQL takes a segment that is missing or that it cannot read for the end of the WAL."""
    segment = _copied(recovery, tmp_path)
    whole = segment.read_bytes()
    latest = ("prepare", "latest", "--from", str(tmp_path))
    now = recovery.platform.psql("SELECT clock_timestamp()")
    assert "nothing was committed after" in recovery.refused("prepare", now, *latest[2:])

    middle = len(whole) // 2
    segment.write_bytes(
        whole[:middle] + bytes(b ^ 0xFF for b in whole[middle : middle + 64]) + whole[middle + 64 :]
    )
    sentence = recovery.refused(*latest)
    assert f"segment {segment.stem} in {tmp_path}/wal is corrupted" in sentence
    numbers = _recoverable(recovery, sentence, tmp_path)
    # Three segments of one commit each, of which the second is damaged, and one commit after them.
    assert numbers == list(range(1, recovery.next - 2))

    segment.unlink()
    assert f"segment {segment.stem} is missing in {tmp_path}/wal" in recovery.refused(*latest)

    plain = segment.with_suffix("")
    plain.touch()
    os.chown(plain, 999, 999)
    subprocess.run(["gzip", "-dc"], input=whole, stdout=plain.open("r+b"), check=True)
    with plain.open("r+b") as file:
        file.seek(60)
        file.write(b"\xff" * 200)
    assert f"segment {segment.stem} in {tmp_path}/wal is corrupted" in recovery.refused(*latest)


def test_a_swap_is_a_pause_to_clients(recovery: Recovery) -> None:
    recovery.commit()
    recovery.pitr("point", "swapped")
    kept = recovery.next
    recovery.commit()
    recovery.pitr("prepare", "name:swapped")
    writer = Writer(recovery)
    writer.start()
    writer.wait_for_more()
    began = time.monotonic()
    recovery.pitr("swap", "--yes")
    writer.wait_for_more()
    writer.stop()
    assert writer.trouble is None
    held = max(
        b - a for a, b in zip(writer.committed.values(), [*writer.committed.values()][1:], strict=False)
    )
    print(f"a swap took {time.monotonic() - began:.1f} s and held clients back for {held:.1f} s")
    found = {int(n) for n in recovery.platform.psql("SELECT n FROM numbers").split()}
    # What was committed to the data before is not in those that came in their place, and all since is.
    assert found == {
        *range(1, kept + 1),
        *(n for n in writer.committed if n >= min(found - {*range(1, kept + 1)})),
    }
    recovery.script("backup.d/wal.sh")
    assert recovery.state("wal") == recovery.state("base") == "ok"
    # What was there is not lost: on its own timeline.
    before = recovery.prepared("latest", "--timeline", "1")
    assert {kept + 1, min(writer.committed)} <= set(before)


def test_loss_of_everything_at_any_instant(recovery: Recovery) -> None:
    platform = recovery.platform
    writer = Writer(recovery)
    writer.start()
    writer.wait_for_more(200)
    platform.docker("kill", "--signal", "KILL", "postgres-db")
    shutil.rmtree(platform.srv / "data/postgres")
    writer.join()
    last = max(writer.committed)
    recovery.pitr("prepare", "latest")
    found = recovery.restored()
    newest = max(found)
    lost = max(0.0, writer.committed[last] - writer.committed[newest]) if newest < last else 0.0
    print(f"lost {max(0, last - newest)} of {len(writer.committed)} commits, {lost:.3f} s")
    assert lost <= LOSS_SECONDS
    assert {n for n in writer.committed if n <= newest} <= set(found)
    recovery.pitr("swap", "--yes")
    recovery.next = last

    def served() -> bool:
        # PgBouncer repeats for a moment the words with which the last attempt failed.
        try:
            with platform.connect() as client:
                return client.execute("SELECT max(n) FROM numbers").fetchone() == (newest,)
        except psycopg.OperationalError:
            return False

    until(served, seconds=10, what="PgBouncer's clients are served")


def test_a_lost_slot_is_made_again(recovery: Recovery) -> None:
    platform = recovery.platform

    def checkpoint() -> str:
        platform.psql("CHECKPOINT")
        return platform.psql("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'postgres_wal'")

    platform.psql("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
    try:
        platform.psql("SELECT pg_reload_conf()")
        platform.docker("stop", "postgres-wal")
        for _ in range(5):
            recovery.commit()
            recovery.fill()
        until(lambda: checkpoint() == "lost", seconds=30, what="a lost slot")
    finally:
        platform.psql("ALTER SYSTEM RESET max_slot_wal_keep_size")
        platform.psql("SELECT pg_reload_conf()")
    before = recovery.bases()
    ran = recovery.script("backup.d/wal.sh")
    assert "a full base backup: it was asked for" in ran.stdout
    assert recovery.state("wal") == recovery.state("base") == "ok"
    assert len(recovery.bases()) == len(before) + 1
    recovery.commit()
    assert max(recovery.prepared("latest")) == recovery.next


def test_a_killed_base_backup_leaves_nothing(recovery: Recovery) -> None:
    platform = recovery.platform
    before = recovery.bases()

    def running() -> bool:
        return bool(platform.docker("ps", "--quiet", "--filter", "name=base-backup"))

    def cut_off(signal: int) -> None:
        script = str(platform.srv / "apps/backup.d/base.sh")
        process = subprocess.Popen([script, "full"], env=platform.environment, stdout=subprocess.DEVNULL)
        until(running, seconds=20, what="a backup")
        process.send_signal(signal)
        process.wait()
        assert recovery.bases() == before

    cut_off(SIGTERM)
    assert not running()
    assert not list(recovery.backups.glob("base/.*"))
    # Now it cannot clean up, which the next one does.
    cut_off(SIGKILL)
    recovery.base()
    assert not running()
    assert not list(recovery.backups.glob("base/.*"))
    assert recovery.bases()[:-1] == before
    assert recovery.bases()[-1] > before[-1]
