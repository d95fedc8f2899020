"""A canary in each secret is found in the listed files and nowhere else."""

import json
import os
import re
import threading
from pathlib import Path

import pytest

from tests.engine.platform import CHECKOUT, CONTAINERS, Platform

PROGRAM = b"pulumi-language-python-exec"


def _listed_files() -> set[str]:
    """The paths of the first table of docs/secrets.md."""
    table = (CHECKOUT / "docs/secrets.md").read_text().split("What stands in place")[0]
    return set(re.findall(r"^\| (config/\S+|apps/\S+) \|", table, re.MULTILINE))


def _found_in(text: str | bytes, secrets: dict[str, str]) -> set[str]:
    data = text.encode() if isinstance(text, str) else text
    return {key for key, value in secrets.items() if value.encode() in data}


class _ProcessWatch:
    """Samples every process' words and environment while something runs.

    Our own process holds the canaries by right; and Pulumi hands the program its configuration in PULUMI_CONFIG
    (docs/secrets.md), so that one process' environment is left out.
    """

    def __init__(self, secrets: dict[str, str]) -> None:
        self.secrets = secrets
        self.found: set[str] = set()
        self.samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_ProcessWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                if process.name == str(os.getpid()):
                    continue
                try:
                    words = (process / "cmdline").read_bytes()
                    environment = (process / "environ").read_bytes()
                except OSError:
                    continue
                self.samples += 1
                seen = words if PROGRAM in words else words + environment
                self.found |= {f"{key} in {words!r}" for key in _found_in(seen, self.secrets)}


def test_canaries_stay_where_they_belong(platform: Platform) -> None:
    with _ProcessWatch(platform.secrets) as watch:
        # Everything is made again, so that every command and container runs under the watch.
        platform.down()
        again = platform.up()
    assert watch.samples > 1000
    assert watch.found == set()
    assert _found_in(again.output, platform.secrets) == set()
    assert _found_in(repr([event.__dict__ for event in again.events]), platform.secrets) == set()
    assert _found_in(platform.state(), platform.secrets) == set()
    assert _found_in(platform.pulumi("stack", "output", "--json"), platform.secrets) == set()
    assert _found_in(platform.pulumi("preview", "--diff", "--stack", "local"), platform.secrets) == set()
    for path in (platform.folder / "backend").rglob("*"):
        if path.is_file():
            assert _found_in(path.read_bytes(), platform.secrets) == set(), path
    for name in CONTAINERS:
        assert _found_in(platform.docker("inspect", name), platform.secrets) == set()
        logs = platform.run(["docker", "logs", name])
        assert _found_in(logs.stdout + logs.stderr, platform.secrets) == set()
    assert (
        _found_in(platform.psql("SELECT string_agg(query, ' ') FROM pg_stat_statements"), platform.secrets)
        == set()
    )
    assert (
        _found_in(platform.psql("SELECT string_agg(rolpassword, ' ') FROM pg_authid"), platform.secrets)
        == set()
    )


def test_canaries_stand_in_the_listed_files_only(running: Platform) -> None:
    holding: dict[str, set[str]] = {}
    for path in running.srv.rglob("*"):
        if (
            path.is_file()
            and not path.is_symlink()
            and (found := _found_in(path.read_bytes(), running.secrets))
        ):
            holding[str(path.relative_to(running.srv))] = found
    assert set(holding) == _listed_files()
    assert holding["config/platform.env"] == set(running.secrets) - {"saltKey"}
    assert holding["config/pgbouncer/userlist.txt"] == {"pgbouncerAuthPassword"}


def test_no_container_has_a_secret_in_its_environment(running: Platform) -> None:
    for name in CONTAINERS:
        environment = json.loads(running.docker("inspect", "--format", "{{json .Config.Env}}", name))
        assert not [e for e in environment if re.search(r"(?i)password|secret|token", e)]


@pytest.mark.parametrize("key", ["postgresPassword", "pgbouncerAuthPassword", "redisAdminPassword"])
def test_a_changed_secret_takes_effect_without_a_restart(platform: Platform, key: str) -> None:
    ids = platform.ids()
    old, new = platform.secrets[key], f"CANARY-new-{key}-' $x \\"
    open_client = platform.connect()
    open_client.execute("SELECT 1")
    platform.secrets[key] = new
    platform.write_config()
    try:
        platform.up()
        assert platform.ids() == ids
        assert open_client.execute("SELECT 1").fetchone() == (1,)
        with platform.connect() as client:
            assert client.execute("SELECT 1").fetchone() == (1,)
        assert platform.redis().ping()
        ran = platform.run(
            ["sh", "-c", '. "$1"; printf %s "$POSTGRES_PASSWORD$PGBOUNCER_AUTH_PASSWORD$REDIS_ADMIN_PASSWORD"', "sh",
             str(platform.srv / "config/platform.env")]
        )  # fmt: skip
        assert new in ran.stdout
        assert old not in ran.stdout
        assert platform.up().operations() == {}
    finally:
        open_client.close()
        platform.secrets[key] = old
        platform.write_config()
        platform.up()
