"""Dumps and restores beside PostgreSQL's plain programs and the disk's own limit, recovery by the volume of WAL, and a drill."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from tests.engine.platform import Platform

DATABASE = "librarian"
# A row is about 1 kB; half of it compresses.
ROWS = 1_000_000
WAL_STEPS = 3


def measure(platform: Platform) -> None:
    """Print the tables. Sizes are MiB, times seconds, all of one run on one disk."""
    apps = platform.srv / "apps"
    fill(platform, ROWS)
    size = int(platform.psql(f"SELECT pg_database_size('{DATABASE}')")) / 2**20
    _dumps(platform, apps, size)
    _point_in_time(platform, apps)
    drill = _seconds(lambda: platform.run([str(apps / "drill.sh")]))
    report = json.loads((platform.srv / "backups/drills/latest.json").read_text())
    print(
        f"\ndrill of {size:.0f} MiB: {drill:.1f} s in all, of which {report['rto_seconds']} s until restored and checked"
    )


def fill(platform: Platform, rows: int) -> None:
    """Rows of text into a table of the application's database."""
    platform.psql(
        f"""SET ROLE librarian_owner; CREATE TABLE IF NOT EXISTS public.pages (id bigserial PRIMARY KEY, page text);
        INSERT INTO public.pages (page) SELECT string_agg(md5(random()::text), '') || repeat('lorem ipsum ', 45)
        FROM generate_series(1, {rows}) AS row, generate_series(1, 15) GROUP BY row;""",
        database=DATABASE,
    )


def _dumps(platform: Platform, apps: Path, size: float) -> None:
    scratch = platform.srv / "backups/bench"
    disk = _seconds(
        lambda: platform.run(
            ["dd", "if=/dev/zero", f"of={scratch}", "bs=1M", f"count={size:.0f}", "conv=fsync", "status=none"]
        )
    )
    plain_dump = _seconds(
        lambda: platform.run(
            [
                "sh",
                "-euc",
                f"docker exec postgres-db pg_dump -U platform_admin -Fc -Z zstd -d {DATABASE} >{scratch}; sync {scratch}",
            ]
        )
    )
    plain_restore = _seconds(
        lambda: platform.run(
            [
                "sh",
                "-euc",
                f"docker exec postgres-db createdb -U platform_admin plain; docker exec -i postgres-db pg_restore -U platform_admin -d plain <{scratch}",
            ]
        )
    )
    platform.run(["docker", "exec", "postgres-db", "dropdb", "-U", "platform_admin", "plain"])
    scratch.unlink()
    whole = _seconds(lambda: platform.run([str(apps / "backup.sh")]))
    manifest = json.loads(max((platform.srv / "backups/dumps").glob("2*/manifest.json")).read_text())
    (mine,) = (each["seconds"] for each in manifest["databases"] if each["name"] == DATABASE)
    restore = _seconds(
        lambda: platform.run([str(apps / "restore.sh"), DATABASE, "latest", "--into", "restored"])
    )
    platform.run(["docker", "exec", "postgres-db", "dropdb", "-U", "platform_admin", "restored"])
    print(f"{f'a database of {size:.0f} MiB':44s}{'seconds':>9s}{'MiB/s':>8s}{'ratio':>8s}")
    for what, seconds, beside in (
        ("dd of as many zeros, synced", disk, disk),
        ("pg_dump -Fc -Z zstd", plain_dump, plain_dump),
        ("backup.sh: dump, row counts, check, checksum", float(mine), plain_dump),
        ("pg_restore", plain_restore, plain_restore),
        ("restore.sh: checksum, restore, row counts", restore, plain_restore),
    ):
        print(f"{what:44s}{seconds:9.1f}{size / seconds:8.0f}{seconds / beside:8.2f}")
    print(f"{'backup.sh as a whole, with a full base backup':44s}{whole:9.1f}", flush=True)


def _point_in_time(platform: Platform, apps: Path) -> None:
    print(f"\n{'WAL since the base backup, MiB':34s}{'prepare latest, seconds':>24s}")
    began = platform.psql("SELECT pg_current_wal_lsn()")
    for _ in range(WAL_STEPS):
        fill(platform, ROWS // 6)
        written = int(float(platform.psql(f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{began}')")))
        seconds = _seconds(lambda: platform.run([str(apps / "pitr.sh"), "prepare", "latest"]))
        platform.run([str(apps / "pitr.sh"), "drop"])
        print(f"{written / 2**20:<34.0f}{seconds:24.1f}", flush=True)


def _seconds(action: Callable[[], object]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin
