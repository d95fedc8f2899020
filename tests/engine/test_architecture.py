"""Dumps are the way to a machine of another architecture: restored there and compared value by value. Base backups refuse to be one."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.backups import CONTENT, FINGERPRINT, Backups, encoded
from tests.engine.platform import CHECKOUT, PATIENCE_SECONDS, Platform
from tests.waiting import until

OUTSIDE = ["nsenter", f"--net={os.environ.get('CDP_TEST_OUTSIDE', '/proc/self/ns/net')}"]
NAME = 'it\'s "elsewhere"/ünï %41\\x'
CONTAINER = "postgres-foreign"
# What processors, and libraries that are built for them, might do otherwise: the sign of a byte, rounding, order, byte order.
VALUES = r"""
CREATE TABLE numbers (id int PRIMARY KEY, single real, double double precision, exact numeric, wide bigint, binary_json jsonb, bits bit varying,
  span tstzrange, list text[], sign "char");
INSERT INTO numbers SELECT g, ln(g)::real, exp(g / 3.0)::float8 / 7, (g::numeric ^ 7) / 3, 9223372036854775807 - g,
    jsonb_build_object('n', g / 7.0, 'ü', array[g, -g], 'deep', jsonb_build_object(md5(g::text), null)), g::bit(20),
    tstzrange('1999-12-31 23:59:59.999999+00', '1999-12-31 23:59:59.999999+00'::timestamptz + g * interval '1.000001 s'),
    array[repeat('ß', g % 9), NULL, '{"x"}'], chr(g % 127 + 1)::"char"
  FROM generate_series(1, 700) g;
INSERT INTO numbers (id, single, double, exact) VALUES (1001, 'NaN', '-0', 'NaN'), (1002, '1e-45', '5e-324', 1e-1000), (1003, '-Infinity',
  1.7976931348623157e308, -1e1000);
CREATE INDEX numbers_json ON numbers USING gin (binary_json);
CREATE INDEX numbers_span ON numbers USING gist (span);
CREATE INDEX numbers_hash ON numbers USING hash (exact);
CREATE TABLE sorted (word text PRIMARY KEY);
INSERT INTO sorted SELECT w || n FROM unnest(array['a', 'A', 'ä', 'Ä', 'z', 'Z', 'ß', 'ss', 'é', 'e', '-', '_', ' ', '中', '😀', 'ÿ', 'ﬀ']) w, generate_series(1, 9) n;
CREATE INDEX sorted_icu ON sorted (word COLLATE "de-x-icu");
CREATE INDEX sorted_trigrams ON sorted USING gin (word gin_trgm_ops);
"""
# By the indexes, whose order the other machine has made itself.
ANSWERS = """
SET enable_seqscan = off; SET enable_sort = off;
SELECT string_agg(word, ' ') FROM (SELECT word FROM sorted ORDER BY word) x;
SELECT string_agg(word, ' ') FROM (SELECT word FROM sorted ORDER BY word COLLATE "de-x-icu") x;
SELECT string_agg(word, ' ' ORDER BY word) FROM sorted WHERE word LIKE '%ä%' OR word LIKE '%中%';
SELECT string_agg(id::text, ' ' ORDER BY id) FROM numbers WHERE binary_json @> '{"ü": [-33]}' OR span @> '2000-01-01 00:01:00+00'::timestamptz;
SELECT string_agg(id::text, ' ' ORDER BY id) FROM numbers WHERE exact = 'NaN' OR exact = 128::numeric / 3;
SELECT string_agg(id::text, ' ' ORDER BY double, id), sum(double), sum(exact) FROM numbers WHERE id < 1000;
"""


def _sandbox(script: str, *words: str) -> str:
    """What a script says; packages are fetched where their mirrors can be reached. Its sentence is the failure."""
    ran = subprocess.run(
        [*OUTSIDE, "sh", str(CHECKOUT / "sandbox/foreign" / script), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@dataclass
class Foreign:
    """PostgreSQL of the other architecture: an empty server in a container without a network."""

    platform: Platform
    image: str
    architecture: str

    def client(self, *words: str, stdin: str | None = None) -> str:
        """One of its client programs, as root, as in the manual."""
        return self.platform.docker("exec", "--interactive", "--user", "0:0", CONTAINER, *words, stdin=stdin)

    def psql(self, sql: str, database: str = "postgres") -> str:
        return self.client("psql", "-XqtA", "-U", "platform_admin", "-d", database, stdin=sql)


@pytest.fixture(scope="module")
def foreign(running: Platform) -> Iterator[Foreign]:
    """The emulator is registered for this machine only as long as it is needed."""
    registered = _sandbox("emulate.sh", "start")
    try:
        image, architecture = _sandbox(
            "provide.sh", "--socket", running.docker_host.removeprefix("unix://")
        ).split()
        made = Foreign(running, image, architecture)
        server = ["postgres", "-D", "/var/lib/postgresql/data", "-c", "listen_addresses=", "-c", "fsync=off"]
        running.docker("run", "--detach", "--name", CONTAINER, "--network", "none", image, *server)
        ready = ["docker", "exec", CONTAINER, "pg_isready", "--quiet"]
        until(
            lambda: running.run(ready, check=False).returncode == 0,
            seconds=120,
            what="PostgreSQL of the other architecture",
        )
        yield made
    finally:
        running.run(["docker", "rm", "--force", "--volumes", CONTAINER], check=False)
        if registered:
            _sandbox("emulate.sh", "stop")


@pytest.fixture
def backups(running: Platform) -> Iterator[Backups]:
    """A platform with a database of its own for this."""
    made = Backups(running)
    made.create(NAME, CONTENT + VALUES)
    yield made
    made.drop_all("it's \"elsewhere%")


def _here(backups: Backups, sql: str) -> str:
    words = ["exec", "--interactive", "postgres-db", "psql", "-XqtA", "-U", "platform_admin", "-d", NAME]
    return backups.platform.docker(*words, stdin=sql)


def test_dumps_restore_on_another_architecture(backups: Backups, foreign: Foreign) -> None:
    machine = foreign.psql("SELECT version()")
    assert ("aarch64" if foreign.architecture == "arm64" else "x86_64") in machine
    backups.must("backup.sh", "--dumps")
    run = backups.runs()[-1]
    # As in the manual: roles first, on a server that has none.
    foreign.psql((run / "globals.sql").read_text())
    dump = f"{encoded(NAME)}.dump"
    backups.platform.docker("cp", str(run / dump), f"{CONTAINER}:/tmp/{dump}")
    foreign.client("pg_restore", "-U", "platform_admin", "-d", "postgres", "--create", f"/tmp/{dump}")
    assert foreign.psql("SELECT count(*) FROM numbers", NAME) == "703"
    for questions in (FINGERPRINT, ANSWERS):
        answer = foreign.psql(questions, NAME)
        assert answer == _here(backups, questions)
        assert len(answer.splitlines()) >= 6
    roles = "SELECT rolname, rolcanlogin, rolpassword FROM pg_authid WHERE rolname ~ '^librarian' ORDER BY 1"
    assert foreign.psql(roles) == backups.platform.psql(roles)


def test_base_backups_are_of_one_architecture(backups: Backups, foreign: Foreign) -> None:
    backups.must("backup.d/base.sh")
    settings = backups.settings / "backup.env"
    before = settings.read_text()
    backups.write_settings(POSTGRES_IMAGE=foreign.image)
    try:
        sentence = backups.refused("pitr.sh", "prepare", "latest")
    finally:
        settings.write_text(before)
    own = backups.platform.docker("version", "--format", "{{.Server.Arch}}")
    assert f"are of {own}, and PostgreSQL here is of {foreign.architecture}" in sentence
    assert not Path(backups.platform.srv / "data/postgres-pitr").exists()
