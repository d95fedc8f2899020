"""A canary in each secret is found in the listed files and nowhere else."""

import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.render.redis import operator_password
from tests.engine.platform import CHECKOUT, CONTAINERS, Platform

PROGRAM = b"pulumi-language-python-exec"


@dataclass(frozen=True)
class _Listed:
    """A row of the first table of docs/secrets.md."""

    path: str
    secrets: str
    owner: str
    mode: str


def _listed(platform: Platform) -> list[_Listed]:
    """The row of an application's file once for each application."""
    table = (CHECKOUT / "docs/secrets.md").read_text().split("What stands in place")[0]
    row = re.compile(r"^\| ((?:config|apps)/\S+) \| ([^|]+) \| (\d+:\d+) \| 0(\d+) \|", re.MULTILINE)
    return [
        _Listed(path.replace("*", name), *rest)
        for path, *rest in row.findall(table)
        for name in (platform.application_secrets if "*" in path else [""])
    ]


def _private_keys(platform: Platform) -> dict[str, str]:
    """Of each private key the line that no other file has, by the key's path."""
    paths = [listed.path for listed in _listed(platform) if listed.secrets == "private key"]
    # The first line of the text: all that is public of a key comes after it.
    return {path: (platform.srv / path).read_text().splitlines()[1] for path in paths}


def _application_passwords(platform: Platform, name: str) -> dict[str, str]:
    """Without a waived one, which looks like a port and stands everywhere."""
    waived = "passwordWaiver" in platform.config["applications"][name]
    passwords = platform.application_secrets[name]
    return {
        f"{name}.{store}": word for store, word in passwords.items() if not (waived and store == "database")
    }


def _canaries(platform: Platform) -> dict[str, str]:
    """All that nobody may see: what was configured, what is derived from it, and what was made on the host."""
    derived = {"redisOperatorPassword": operator_password(platform.secrets["saltKey"])}
    for name in platform.application_secrets:
        derived |= _application_passwords(platform, name)
    return platform.secrets | derived | _private_keys(platform)


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
    secrets = _canaries(platform)
    with _ProcessWatch(secrets) as watch:
        # Everything is made again, so that every command and container runs under the watch.
        platform.down()
        again = platform.up()
    assert watch.samples > 1000
    assert watch.found == set()
    assert _found_in(again.output, secrets) == set()
    assert _found_in(repr([event.__dict__ for event in again.events]), secrets) == set()
    assert _found_in(platform.state(), secrets) == set()
    assert _found_in(platform.pulumi("stack", "output", "--json"), secrets) == set()
    assert _found_in(platform.pulumi("preview", "--diff", "--stack", "local"), secrets) == set()
    for path in (platform.folder / "backend").rglob("*"):
        if path.is_file():
            assert _found_in(path.read_bytes(), secrets) == set(), path
    for name in CONTAINERS:
        assert _found_in(platform.docker("inspect", name), secrets) == set()
        logs = platform.run(["docker", "logs", name])
        assert _found_in(logs.stdout + logs.stderr, secrets) == set()
    assert _found_in(platform.psql("SELECT string_agg(query, ' ') FROM pg_stat_statements"), secrets) == set()
    assert _found_in(platform.psql("SELECT string_agg(rolpassword, ' ') FROM pg_authid"), secrets) == set()


def test_canaries_stand_in_the_listed_files_only(running: Platform) -> None:
    secrets = _canaries(running)
    holding: dict[str, set[str]] = {}
    for path in running.srv.rglob("*"):
        if path.is_file() and not path.is_symlink() and (found := _found_in(path.read_bytes(), secrets)):
            holding[str(path.relative_to(running.srv))] = found
    # An application without a canary has nothing to be found by.
    waived = {
        f"apps/{name}/" for name in running.application_secrets if not _application_passwords(running, name)
    }
    assert set(holding) == {
        str(Path(running.srv / row.path).resolve().relative_to(running.srv))
        for row in _listed(running)
        if not row.path.startswith(tuple(waived))
    }
    ours = {name: set(_application_passwords(running, name)) for name in running.application_secrets}
    assert holding.pop("config/platform.env") == (set(running.secrets) - {"saltKey"}).union(*ours.values())
    for path in [path for path in holding if path.startswith("apps/")]:
        assert holding.pop(path) == ours[Path(path).parts[1]]
    assert holding.pop("config/pgbouncer/userlist.txt") == {"pgbouncerAuthPassword"}
    assert holding.pop("config/backup/key") == {"backupKey"}
    assert holding.pop("config/backup/s3-credentials") == {"offsiteAccessKey", "offsiteSecretKey"}
    assert holding.pop("config/backup/webhook") == {"alertWebhook"}
    # Each private key in its own file.
    assert sorted(map(sorted, holding.values())) == sorted([path] for path in _private_keys(running))


def test_the_listed_files_have_owner_and_mode(running: Platform) -> None:
    assert len(_listed(running)) >= 6
    for row in _listed(running):
        found = (running.srv / row.path).stat()
        assert (f"{found.st_uid}:{found.st_gid}", f"{found.st_mode & 0o7777:o}") == (row.owner, row.mode), row


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
