"""Dumps, restores and base backups beside PostgreSQL's plain programs and the disk's own limit; recovery by volume of WAL; a drill."""

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median

from tests.bench.figures import Figure
from tests.engine.platform import Platform

GROUP = "backups"
DATABASE = "librarian"
# A row is about 1 kB; half of it compresses. More than one table and index, so that plain programs with --jobs have their chance.
TABLES, ROWS = 4, 200_000
WAL_STEPS = 3
GOAL = 0.9

DISK = "dd of as many zeros, synced"
DUMP, DUMP_CLIENT, DUMP_JOBS, OUR_DUMP = (
    "pg_dump -Fc -Z zstd, by docker exec",
    "pg_dump -Fc -Z zstd, from a container of its own",
    "pg_dump -Fd -Z zstd --jobs 2",
    "backup.sh: dump with row counts and a look at what came",
)
# Without statistics a restored database is not what it was: ours is compared with a restore that makes them too.
RESTORE, RESTORE_JOBS, RESTORE_ANALYZED, OUR_RESTORE = (
    "pg_restore, by docker exec",
    "pg_restore --jobs 2, from a container of its own",
    "the same, then ANALYZE",
    "restore.sh: checksum, restore, row counts, statistics",
)
# A backup that nobody has looked at is not the same thing: ours is compared with one that was read again.
BASE, BASE_VERIFIED, OUR_BASE = (
    "pg_basebackup",
    "pg_basebackup, then pg_verifybackup",
    "base.sh: full base backup, verified, with its WAL",
)
WHOLE = "backup.sh --dumps as a whole: every database, Redis, checksums"


class _Bench:
    """The programs on a platform whose application has a database of some size."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.apps = platform.srv / "apps"
        self._scratch = platform.srv / "backups/bench"
        self.bytes = 0

    def fill(self, rows: int) -> None:
        """Rows of text into each of the tables of the application's database."""
        for table in range(TABLES):
            self._platform.psql(
                f"""SET ROLE librarian_owner;
                CREATE TABLE IF NOT EXISTS public.pages_{table} (id bigserial PRIMARY KEY, page text);
                CREATE INDEX IF NOT EXISTS pages_{table}_word ON public.pages_{table} (left(page, 12));
                INSERT INTO public.pages_{table} (page)
                  SELECT string_agg(md5(random()::text), '') || repeat('lorem ipsum ', 45)
                  FROM generate_series(1, {rows}) AS row, generate_series(1, 15) GROUP BY row;""",
                database=DATABASE,
            )
        self.bytes = int(self._platform.psql(f"SELECT pg_database_size('{DATABASE}')"))

    def run(self, *words: str) -> float:
        """Seconds of a program, with nothing left from the last one to be written."""
        # What the server has still to write belongs to whoever wrote it.
        self._platform.psql("CHECKPOINT")
        self._platform.run(["sync"])
        began = time.monotonic()
        self._platform.run(list(words))
        return time.monotonic() - began

    def client(self, *words: str) -> float:
        """Seconds of one of PostgreSQL's programs in a container of its own, with the server's socket and the scratch folder."""
        image = self._platform.docker("inspect", "--format", "{{.Image}}", "postgres-db")
        socket = self._platform.srv / "run/postgresql"
        folders = ["--volume", f"{socket}:/var/run/postgresql", "--volume", f"{self._scratch}:/scratch"]
        return self.run(
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            *folders,
            "--entrypoint",
            words[0],
            image,
            *words[1:],
        )

    def rounds(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of each row."""
        found: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for row, seconds in self._round():
                found[row].append(seconds)
        return found

    def _round(self) -> Iterator[tuple[str, float]]:
        self._scratch.mkdir()
        try:
            file = self._scratch / "file"
            megabytes = f"count={self.bytes >> 20}"
            yield (
                DISK,
                self.run("dd", "if=/dev/zero", f"of={file}", "bs=1M", megabytes, "conv=fsync", "status=none"),
            )
            login = f"-U platform_admin -d {DATABASE}"
            line = f"docker exec postgres-db pg_dump {login} -Fc -Z zstd >{file}; sync {file}"
            yield DUMP, self.run("sh", "-euc", line)
            one = ("-Fc", "-Z", "zstd", "--file", "/scratch/one", "-U", "platform_admin", DATABASE)
            yield DUMP_CLIENT, self.client("pg_dump", *one)
            jobs = (
                "-Fd",
                "-Z",
                "zstd",
                "--jobs",
                "2",
                "--file",
                "/scratch/folder",
                "-U",
                "platform_admin",
                DATABASE,
            )
            yield DUMP_JOBS, self.client("pg_dump", *jobs)
            yield WHOLE, self.run(str(self.apps / "backup.sh"), "--dumps")
            yield OUR_DUMP, self._of_the_last_dump()
            with self._empty("plain"):
                line = f"docker exec -i postgres-db pg_restore -U platform_admin -d plain <{file}"
                yield RESTORE, self.run("sh", "-euc", line)
            with self._empty("plain"):
                words = ("--jobs", "2", "-U", "platform_admin", "-d", "plain", "/scratch/file")
                restored = self.client("pg_restore", *words)
                yield RESTORE_JOBS, restored
                analyze = ("psql", "-U", "platform_admin", "-d", "plain", "-qc", "ANALYZE")
                yield RESTORE_ANALYZED, restored + self.run("docker", "exec", "postgres-db", *analyze)
            with self._dropped("restored"):
                yield (
                    OUR_RESTORE,
                    self.run(str(self.apps / "restore.sh"), DATABASE, "latest", "--into", "restored"),
                )
            backup = "pg_basebackup --wal-method=none --checkpoint=fast -U platform_backup --pgdata=/scratch"
            yield BASE, self.client("sh", "-c", f"{backup}/base")
            verified = f"{backup}/verified && pg_verifybackup --quiet --no-parse-wal /scratch/verified"
            yield BASE_VERIFIED, self.client("sh", "-c", verified)
            yield OUR_BASE, self.run(str(self.apps / "backup.d/base.sh"), "full")
        finally:
            shutil.rmtree(self._scratch)

    def _of_the_last_dump(self) -> float:
        manifest = json.loads(
            max((self._platform.srv / "backups/dumps").glob("2*/manifest.json")).read_text()
        )
        (seconds,) = (each["seconds"] for each in manifest["databases"] if each["name"] == DATABASE)
        return float(seconds)

    @contextmanager
    def _empty(self, database: str) -> Iterator[None]:
        self._platform.docker("exec", "postgres-db", "createdb", "-U", "platform_admin", database)
        with self._dropped(database):
            yield

    @contextmanager
    def _dropped(self, database: str) -> Iterator[None]:
        try:
            yield
        finally:
            self._platform.docker(
                "exec", "postgres-db", "dropdb", "-U", "platform_admin", "--if-exists", database
            )

    def recoveries(self) -> Iterator[tuple[float, float]]:
        """MiB of WAL since the base backup, and seconds until a copy of the server stands there."""
        began = self._platform.psql("SELECT pg_current_wal_lsn()")
        for _ in range(WAL_STEPS):
            self.fill(ROWS // 6)
            written = self._platform.psql(f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{began}')")
            seconds = self.run(str(self.apps / "pitr.sh"), "prepare", "latest")
            self._platform.run([str(self.apps / "pitr.sh"), "drop"])
            yield float(written) / 2**20, seconds

    def drill(self) -> tuple[float, float]:
        """Seconds in all, and until the copy was restored and checked."""
        seconds = self.run(str(self.apps / "drill.sh"))
        report = json.loads((self._platform.srv / "backups/drills/latest.json").read_text())
        return seconds, float(report["rto_seconds"])


def measure(platform: Platform, *, rounds: int) -> list[Figure]:
    """Rates of each program; recovery and drill once, since they need a new base backup each time."""
    bench = _Bench(platform)
    bench.fill(ROWS)
    size, server = bench.bytes, int(platform.psql("SELECT sum(pg_database_size(oid)) FROM pg_database"))
    found = bench.rounds(rounds)
    # In one file, as ours are.
    dump = _best(found, DUMP, DUMP_CLIENT)
    dumps = {DISK: None, DUMP: DISK, DUMP_CLIENT: DISK, DUMP_JOBS: DISK, OUR_DUMP: dump, WHOLE: dump}
    restores = {
        RESTORE: DISK,
        RESTORE_JOBS: RESTORE,
        RESTORE_ANALYZED: RESTORE_JOBS,
        OUR_RESTORE: RESTORE_ANALYZED,
    }
    figures = [
        *_rates(found, size, dumps, OUR_DUMP),
        *_rates(found, size, restores, OUR_RESTORE),
        *_rates(found, server, {BASE: DISK, BASE_VERIFIED: BASE, OUR_BASE: BASE_VERIFIED}, OUR_BASE),
    ]
    figures += [
        Figure(
            group=GROUP,
            row=f"pitr.sh prepare latest, {wal:.0f} MiB of WAL after the base backup",
            unit="s",
            values=(seconds,),
            better="less",
        )
        for wal, seconds in bench.recoveries()
    ]
    whole, ready = bench.drill()
    for row, seconds in (
        (f"drill.sh, {bench.bytes / 2**20:.0f} MiB", whole),
        ("of which until restored and checked", ready),
    ):
        figures.append(Figure(group=GROUP, row=row, unit="s", values=(seconds,), better="less"))
    return figures


def _best(found: dict[str, list[float]], *rows: str) -> str:
    return min(rows, key=lambda row: median(found[row]))


def _rates(
    found: dict[str, list[float]], size: int, rows: Mapping[str, str | None], ours: str
) -> Iterator[Figure]:
    for row, beside in rows.items():
        yield Figure(
            group=GROUP,
            row=row,
            unit="MiB/s",
            values=tuple(size / 2**20 / seconds for seconds in found[row]),
            beside=beside,
            goal=GOAL if row == ours else None,
        )
