"""The backup scripts of a platform, as an operator or a timer runs them, and what is hard about the databases that they save."""

import os
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.engine.platform import PATIENCE_SECONDS, Platform
from tests.waiting import until

# Each value of each row of each table, and the large objects.
FINGERPRINT = """
SELECT 'large objects', md5(string_agg(l.oid::text || md5(lo_get(l.oid)), ',' ORDER BY l.oid)) FROM pg_largeobject_metadata l
UNION ALL SELECT t.name, (xpath('/row/md5/text()', query_to_xml(
    format('SELECT md5(string_agg(x::text, E''\\n'' ORDER BY x::text)) FROM %s x', t.name), false, true, '')))[1]::text
  FROM (SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema') t
UNION ALL SELECT 'extensions', string_agg(extname, ',' ORDER BY extname) FROM pg_extension
UNION ALL SELECT 'indexes', string_agg(indexdef, ';' ORDER BY indexdef) FROM pg_indexes WHERE schemaname !~ '^pg_'
ORDER BY 1
"""
CONTENT = r"""
CREATE EXTENSION pg_trgm;
CREATE SCHEMA "odd	schema";
CREATE TABLE "odd	schema"."two
lines'" AS SELECT g AS id, md5(g::text) AS word, g % 7 = 0 AS flag FROM generate_series(1, 2000) g;
CREATE TABLE words (word text PRIMARY KEY, nothing text, bytes bytea, at timestamptz DEFAULT now());
INSERT INTO words SELECT 'w' || g || E'\t\\.\n', NULL, decode(md5(g::text), 'hex') FROM generate_series(1, 500) g;
CREATE INDEX ON words USING gin (word gin_trgm_ops);
CREATE TABLE parts (id int, note text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (300);
INSERT INTO parts SELECT g, 'ümlaut' FROM generate_series(0, 299) g;
CREATE TABLE empty ();
SELECT lo_from_bytea(0, decode(repeat(md5(g::text), 3000), 'hex')) FROM generate_series(1, 3) g;
ALTER TABLE words OWNER TO librarian_owner;
GRANT SELECT ON words TO librarian_readonly;
"""


def encoded(name: str) -> str:
    """A database's name as that of its files."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


@dataclass
class Scripts:
    """The scripts that are installed, their settings and what they leave."""

    platform: Platform

    @property
    def apps(self) -> Path:
        return self.platform.srv / "apps"

    @property
    def backups(self) -> Path:
        return self.platform.srv / "backups"

    @property
    def settings(self) -> Path:
        return self.platform.srv / "config/backup"

    def start(self, script: str, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """A script as a process group of its own."""
        return subprocess.Popen(
            ["sh", str(self.apps / script), *words],
            # As by a timer: nothing but the way to Docker.
            env={"PATH": os.environ["PATH"], "DOCKER_HOST": self.platform.docker_host, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(script, *words, **environment)
        try:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            kill(process)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def must(self, script: str, *words: str, **environment: str) -> str:
        ran = self.run(script, *words, **environment)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def refused(self, script: str, *words: str, **environment: str) -> str:
        """The one sentence with which a script refuses."""
        ran = self.run(script, *words, **environment)
        assert ran.returncode == 1, ran.stdout
        (sentence,) = ran.stderr.splitlines()
        return sentence

    def state(self, name: str) -> tuple[str, str]:
        """ok or fail, and the detail."""
        state, _, detail = (self.backups / "state" / name).read_text().rstrip("\n").split("\t")
        return state, detail

    def write_settings(self, **changed: str) -> None:
        """backup.env as the program has written it, with other values."""
        path = self.settings / "backup.env"
        lines = path.read_text().splitlines()
        for name, value in changed.items():
            lines = [line for line in lines if line.removeprefix("export ").partition("=")[0] != name]
            # restic and rclone read those from the environment.
            exported = "export " if name.startswith(("AWS_", "RCLONE_")) else ""
            lines.append(f"{exported}{name}='{value}'")
        path.write_text("\n".join(lines) + "\n")

    def docker_before(self, folder: Path, word: str, script: str) -> str:
        """A PATH whose docker runs a script before the first command that has this word."""
        folder.mkdir(exist_ok=True)
        real = shutil.which("docker")
        stand_in = folder / "docker"
        stand_in.write_text(
            f'#!/bin/sh\ncase " $* " in *{shlex.quote(word)}*)\n'
            f"  if mkdir {folder}/done 2>/dev/null; then\n{script.replace('docker ', f'{real} ')}\n  fi ;;\nesac\n"
            f'exec {real} "$@"\n'
        )
        stand_in.chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"


@dataclass
class Backups(Scripts):
    """Dumps, and the databases that they are of."""

    @property
    def dumps(self) -> Path:
        return self.backups / "dumps"

    def must(self, script: str, *words: str, **environment: str) -> str:
        """What it says; nothing of that is about trouble."""
        ran = self.run(script, *words, **environment)
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
        return ran.stdout

    def runs(self) -> list[Path]:
        return sorted(self.dumps.glob("2*Z"))

    def left(self) -> list[str]:
        """What no run should leave: unfinished folders, sessions, databases that are being restored."""
        sessions = self.platform.psql(
            "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'backup %'"
            " UNION ALL SELECT datname FROM pg_database WHERE datname ~ '_restore_'"
        )
        return [*sessions.splitlines(), *(path.name for path in self.dumps.glob(".*"))]

    def whole(self, run: Path) -> bool:
        checked = subprocess.run(
            ["sha256sum", "--check", "--status", "--strict", "SHA256SUMS"], cwd=run, check=False
        )
        return checked.returncode == 0 and {"manifest.json", "globals.sql", "databases.tsv"} <= {
            path.name for path in run.iterdir()
        }

    def client(self, database: str) -> "psycopg.Connection[Any]":
        return self.platform.connect(database=database, pooled=False)

    def fingerprint(self, database: str) -> list[Any]:
        with self.client(database) as client:
            return client.execute(FINGERPRINT.encode()).fetchall()

    def create(self, database: str, content: str = "") -> None:
        with self.client("postgres") as client:
            client.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        if content:
            with self.client(database) as client:
                client.execute(content.encode())

    def drop_all(self, like: str) -> None:
        with self.client("postgres") as client:
            for (name,) in client.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE %s", (like,)
            ).fetchall():
                client.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def kill(process: "subprocess.Popen[str]") -> None:
    """The script and all that it has started, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
    until(lambda: not _lives(process.pid), seconds=10, what="the end of what it had started")


def _lives(group: int) -> bool:
    """Does a process of this group run?"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
