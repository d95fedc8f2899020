"""The images from Debian packages: definitions, packing, pushing, entry points, and what keeps them served.

What the finished images do is checked on a real engine by sandbox/images/check.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sandbox.images import oci
from tests.waiting import is_alive, until

IMAGES = Path(oci.__file__).parent
SUPERVISE = IMAGES.parent / "docker" / "supervise.sh"
PACKAGES = "postgresql-17\t17.12-0+deb13u1\nbash\t5.2.37-2\nlibc6:amd64\t2.41-12\nremoved\t\n"


def definition(name: str) -> dict[str, Any]:
    """The definition of an image."""
    return json.loads((IMAGES / name / "image.json").read_text())


@pytest.mark.parametrize(
    ("debian", "upstream"),
    [
        ("17.12-0+deb13u1", "17.12"),
        ("5:7.0.15-1~deb12u5", "7.0.15"),
        ("1.24.1-1", "1.24.1"),
        ("2.0-rc1-3", "2.0-rc1"),
    ],
)
def test_a_tag_is_the_version_of_the_program_itself(debian: str, upstream: str) -> None:
    assert oci.upstream_version(debian) == upstream


def test_packages_that_are_not_installed_have_no_version() -> None:
    packages = oci.installed_packages(PACKAGES)
    assert packages == {"postgresql-17": "17.12-0+deb13u1", "bash": "5.2.37-2", "libc6": "2.41-12"}


def test_postgres_keeps_the_contract_of_the_official_image() -> None:
    config = definition("postgres")["config"]
    assert config["Entrypoint"] == ["docker-entrypoint.sh"]
    assert config["Cmd"] == ["postgres"]
    assert config["StopSignal"] == "SIGINT"
    assert config["Volumes"] == {"/var/lib/postgresql/data": {}}
    assert config["ExposedPorts"] == {"5432/tcp": {}}
    assert "PGDATA=/var/lib/postgresql/data" in config["Env"]
    assert "User" not in config


def test_redis_keeps_the_contract_of_the_official_image() -> None:
    config = definition("redis")["config"]
    assert config["Entrypoint"] == ["docker-entrypoint.sh"]
    assert config["Cmd"] == ["redis-server"]
    assert config["Volumes"] == {"/data": {}}
    assert config["WorkingDir"] == "/data"
    assert "StopSignal" not in config
    assert "User" not in config


def test_pgbouncer_keeps_the_contract_of_percona_s_image() -> None:
    config = definition("pgbouncer")["config"]
    assert config["User"] == "1001"
    assert config["Entrypoint"] == ["/entrypoint.sh"]
    assert config["Cmd"] == ["/usr/bin/pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]
    assert not {"ExposedPorts", "Volumes", "StopSignal", "Healthcheck"} & set(config)


def small_definition() -> dict[str, Any]:
    """PostgreSQL's definition with fewer packages."""
    return {**definition("postgres"), "packages": ["bash"]}


def test_a_configuration_says_which_packages_the_image_holds() -> None:
    packages = oci.installed_packages(PACKAGES)
    config = oci.image_config(small_definition(), packages, "arm64", "sha256:0", {})
    labels = config["config"]["Labels"]
    assert labels["central-data-platform.debian-packages"] == "bash=5.2.37-2 postgresql-17=17.12-0+deb13u1"
    assert labels["org.opencontainers.image.version"] == "17.12"
    assert labels["central-data-platform.stands-in-for"] == "postgres 17.11"
    assert "PG_VERSION=17.12-0+deb13u1" in config["config"]["Env"]
    assert (config["architecture"], config["variant"]) == ("arm64", "v8")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A folder `images` with one packed image, `postgres`."""
    return pack_into(tmp_path / "images")


def pack_into(images: Path) -> Path:
    """Packs a small root file system as the image `postgres`."""
    folder = images / "postgres"
    folder.mkdir(parents=True)
    (images / "definition.json").write_text(json.dumps(small_definition()))
    (folder / "packages.txt").write_text(PACKAGES)
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("etc"))
    oci.pack(images / "definition.json", folder, "amd64")
    return images


def test_the_same_file_system_has_the_same_digest_whenever_it_is_packed(packed: Path, tmp_path: Path) -> None:
    again = pack_into(tmp_path / "again")
    for name in ("layer.tar.gz", "config.json", "manifest.json", "manifest-next.json"):
        assert (packed / "postgres" / name).read_bytes() == (again / "postgres" / name).read_bytes()


def test_a_manifest_names_the_bytes_beside_it(packed: Path) -> None:
    folder = packed / "postgres"
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry, name in ((manifest["config"], "config.json"), (manifest["layers"][0], "layer.tar.gz")):
        content = (folder / name).read_bytes()
        assert entry["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert entry["size"] == len(content)


def test_the_second_image_differs_by_a_label_alone(packed: Path) -> None:
    folder = packed / "postgres"
    first, second = (json.loads((folder / f"config{suffix}.json").read_text()) for suffix in ("", "-next"))
    assert second["config"]["Labels"].pop("central-data-platform.variant") == "next"
    assert first == second


class FakeRegistry(BaseHTTPRequestHandler):
    """The few requests of a registry that a push makes, kept in memory."""

    stored: dict[str, bytes]
    uploads: int
    refuse: bool

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def answer(self, status: int, **headers: str) -> None:
        """Sends an answer without a body."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        """Is it there?"""
        self.answer(200 if self.path in self.stored else 404)

    def do_POST(self) -> None:
        """Begin an upload."""
        self.answer(403 if self.refuse else 202, Location=f"{self.path}1?_state=x")

    def do_PUT(self) -> None:
        """A blob or a manifest."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        type(self).uploads += 1
        if "/uploads/" in self.path:
            assert self.path.endswith(f"?_state=x&digest={digest}")
            self.stored[self.path.split("/uploads/")[0] + f"/{digest}"] = content
        else:
            self.stored[self.path] = content
            self.stored[f"{self.path.rsplit('/', 1)[0]}/{digest}"] = content
        self.answer(201, Docker_Content_Digest=digest)


@pytest.fixture
def registry() -> Iterator[tuple[str, type[FakeRegistry]]]:
    """A registry: its address and its memory."""

    class Handler(FakeRegistry):
        stored: dict[str, bytes] = {}  # noqa: RUF012 - one for each test is the point
        uploads = 0
        refuse = False

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_catalogue_names_what_the_registry_serves(
    packed: Path, registry: tuple[str, type[FakeRegistry]]
) -> None:
    address, memory = registry
    catalogue = oci.push_all(packed, ["postgres"], address, "")
    digest = f"sha256:{hashlib.sha256((packed / 'postgres' / 'manifest.json').read_bytes()).hexdigest()}"
    expected = {"repository": f"{address}/postgres", "tag": "17.12", "manifests": {"amd64": digest}}
    assert catalogue == {"postgres": expected}
    assert f"/v2/postgres/manifests/{digest}" in memory.stored


def test_only_what_is_missing_is_pushed(packed: Path, registry: tuple[str, type[FakeRegistry]]) -> None:
    address, memory = registry
    oci.push_all(packed, ["postgres"], address, "")
    assert memory.uploads == 3
    oci.push_all(packed, ["postgres"], address, "")
    assert memory.uploads == 3
    catalogue = oci.push_all(packed, ["postgres"], address, "-next")
    assert catalogue["postgres"]["tag"] == "17.12-next"
    assert memory.uploads == 5  # the layer is shared


def test_a_registry_that_refuses_is_named(packed: Path, registry: tuple[str, type[FakeRegistry]]) -> None:
    address, memory = registry
    memory.refuse = True
    with pytest.raises(oci.ImageError, match=f"the registry on {address} refuses an upload to postgres: 403"):
        oci.push_all(packed, ["postgres"], address, "")


def test_a_registry_that_does_not_answer_is_named(packed: Path) -> None:
    with pytest.raises(oci.ImageError, match=r"the registry on 127\.0\.0\.1:1 does not answer"):
        oci.push_all(packed, ["postgres"], "127.0.0.1:1", "")


def test_a_catalogue_that_says_the_same_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "images.json"
    oci.write_catalogue(path, {"postgres": {}})
    before = path.stat().st_ino
    oci.write_catalogue(path, {"postgres": {}})
    assert path.stat().st_ino == before
    oci.write_catalogue(path, {})
    assert path.stat().st_ino != before
    assert json.loads(path.read_text()) == {}


def run_redis_entry_point(folder: Path, user: int, *arguments: str) -> list[str]:
    """Runs Redis's entry point with stand-ins for what it calls; returns the words that it ends in."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    stand_ins = {
        "id": f"echo {user}",
        "find": ":",
        "gosu": 'printf "%s\\n" gosu "$@"',
        "redis-server": 'printf "%s\\n" redis-server "$@"; umask',
        "other": 'printf "%s\\n" other "$@"',
    }
    for name, body in stand_ins.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    result = subprocess.run(
        [IMAGES / "redis" / "docker-entrypoint.sh", *arguments],
        cwd=folder,
        env={"PATH": f"{tools}:{os.environ['PATH']}"},
        umask=0o022,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()


OFF = ["--protected-mode", "no"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["redis-server"], ["redis-server", *OFF]),
        (["--maxmemory", "1mb"], ["redis-server", "--maxmemory", "1mb", *OFF]),
        (["plain.conf"], ["redis-server", "plain.conf", *OFF]),
        (["guarded.conf"], ["redis-server", "guarded.conf"]),
        (["including.conf"], ["redis-server", "including.conf"]),
        (["redis-server", "missing.conf"], ["redis-server", "missing.conf", *OFF]),
        (
            ["redis-server", "plain.conf", "--protected-mode", "yes"],
            ["redis-server", "plain.conf", "--protected-mode", "yes"],
        ),
        (["redis-server", "--version"], ["redis-server", "--version"]),
    ],
)
def test_redis_is_unprotected_unless_someone_says_otherwise(
    tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    (tmp_path / "plain.conf").write_text("# protected-mode yes\nmaxmemory 1mb\n")
    (tmp_path / "guarded.conf").write_text("Protected-Mode yes\n")
    (tmp_path / "including.conf").write_text('include "guarded*.conf"\n')
    assert run_redis_entry_point(tmp_path, 999, *arguments) == [*expected, "0077"]


def test_redis_steps_down_from_root_under_its_own_name_only(tmp_path: Path) -> None:
    words = run_redis_entry_point(tmp_path, 0, "redis-server", "x.conf")
    assert words == [
        "gosu",
        "redis",
        str(IMAGES / "redis" / "docker-entrypoint.sh"),
        "redis-server",
        "x.conf",
    ]
    assert run_redis_entry_point(tmp_path, 0, "other", "word") == ["other", "word"]


def test_postgres_runs_other_commands_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text('#!/bin/sh\necho "server $*"\n')
    (tmp_path / "postgres").chmod(0o755)
    script = IMAGES / "postgres" / "docker-entrypoint.sh"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for arguments, expected in ((["echo", "as it is"], "as it is"), (["--version"], "server --version")):
        result = subprocess.run(
            [script, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        assert result.stdout.strip() == expected


class Supervised:
    """A program under sandbox/docker/supervise.sh."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def call(self, action: str, *words: str, check: bool = True, **environment: str) -> int:
        """Runs one action, with the output in a pipe: it must not stay open."""
        result = subprocess.run(
            [SUPERVISE, action, self.state, "program", *words],
            env={**os.environ, **environment},
            capture_output=True,
            timeout=20,
            check=check,
        )
        return result.returncode

    def pid(self, which: str = "process") -> int:
        """The recorded process, or 0."""
        try:
            return int((self.state / f"program.{which}").read_text().split()[0])
        except FileNotFoundError:
            return 0

    def wait_for_another(self, pid: int) -> int:
        """Waits until the program is another process than `pid`."""
        deadline = time.monotonic() + 10
        while self.pid() in (0, pid):
            assert time.monotonic() < deadline, (self.state / "program.log").read_text()
            time.sleep(0.05)
        return self.pid()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """A supervised `sleep`, started with a secret in the environment."""
    program = Supervised(tmp_path)
    program.call("start", "sleep", "600", PULUMI_CONFIG_PASSPHRASE="canary")
    pid = program.wait_for_another(0)
    # It is on record from its fork on, when it still has the supervisor's files.
    until(
        lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", seconds=10, what="the program itself runs"
    )
    yield program
    program.call("stop", "5")


def test_a_supervised_program_comes_back(supervised: Supervised) -> None:
    first = supervised.pid()
    os.kill(first, signal.SIGKILL)
    second = supervised.wait_for_another(first)
    supervised.call("restart", "5")
    assert is_alive(supervised.wait_for_another(second))
    assert supervised.call("status") == 0


def test_a_supervised_program_ends_with_stop(supervised: Supervised) -> None:
    pids = [supervised.pid(), supervised.pid("supervisor")]
    supervised.call("stop", "5")
    assert [is_alive(pid) for pid in pids] == [False, False]
    assert supervised.call("status", check=False) == 1


def test_a_program_without_its_supervisor_is_adopted(supervised: Supervised) -> None:
    pid, supervisor = supervised.pid(), supervised.pid("supervisor")
    os.kill(supervisor, signal.SIGKILL)
    # kill does not wait.
    until(lambda: not is_alive(supervisor), seconds=10, what="the supervisor has ended")
    assert supervised.call("status", check=False) == 2
    supervised.call("start", "sleep", "600")
    assert supervised.pid() == pid
    assert supervised.call("status") == 0


def test_a_second_start_changes_nothing(supervised: Supervised) -> None:
    before = (supervised.pid(), supervised.pid("supervisor"))
    supervised.call("start", "sleep", "600")
    assert (supervised.pid(), supervised.pid("supervisor")) == before


def test_a_supervised_program_has_nothing_of_the_caller_s(supervised: Supervised) -> None:
    process = Path(f"/proc/{supervised.pid()}")
    assert b"canary" not in (process / "environ").read_bytes()
    assert (process / "cwd").readlink() == Path("/")
    log = supervised.state / "program.log"
    opened = {int(fd.name): fd.readlink() for fd in (process / "fd").iterdir()}
    assert opened == {0: Path("/dev/null"), 1: log, 2: log}


def test_a_stale_pid_file_harms_nobody(tmp_path: Path) -> None:
    innocent = subprocess.Popen(["sleep", "600"])
    try:
        (tmp_path / "program.process").write_text(f"{innocent.pid} earlier-boot-1\n")
        (tmp_path / "program.supervisor").write_text(f"{innocent.pid} earlier-boot-1\n")
        program = Supervised(tmp_path)
        program.call("start", "sleep", "600")
        program.wait_for_another(innocent.pid)
        program.call("stop", "5")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()
