"""How much a run can carry. In the last file of its half of the tests: what it leaves in WAL, each later backup would take along."""

import shutil
import time

from tests.engine.backups import Backups
from tests.engine.platform import Platform

GIGABYTE = 1_000_000_000
# Half of it compresses, as text does.
LARGE = """
    CREATE TABLE pages AS SELECT row AS id, (SELECT string_agg(md5(row::text || n), '') FROM generate_series(1, 32) AS n) AS page
      FROM generate_series(1, 1000000) AS row;
    ALTER TABLE pages ADD PRIMARY KEY (id);"""
SUM = "SELECT count(*), md5(string_agg(md5(page), '' ORDER BY id)) FROM pages"


def test_a_gigabyte_comes_back(running: Platform) -> None:
    backups = Backups(running)
    backups.create("large", LARGE)
    try:
        assert int(running.psql("SELECT pg_database_size('large')")) > GIGABYTE
        before = running.psql(SUM, database="large")
        began = time.monotonic()
        backups.must("backup.sh", "--dumps")
        dumped = time.monotonic()
        backups.must("restore.sh", "large", "latest", "--into", "large_again")
        print(f"1 GB: dumped in {dumped - began:.0f} s, restored in {time.monotonic() - dumped:.0f} s")
        assert running.psql(SUM, database="large_again") == before
    finally:
        backups.drop_all("large%")
        shutil.rmtree(backups.runs()[-1])
