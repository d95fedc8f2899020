"""examples/librarian, deployed by the manual's command, uses both stores and outlives a change of its passwords."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.example import CONTAINER, DEPLOY, NAME, SOURCE, Borrower, Deployed, ask, deployed
from tests.engine.platform import CHECKOUT, Platform
from tests.waiting import until

# The one place with a way out of the tests' network namespace.
OUTSIDE = ["nsenter", f"--net={os.environ.get('CDP_TEST_OUTSIDE', '/proc/self/ns/net')}"]
# In pip's words, newest first; a wheel of an older one serves as well.
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def _reachable(platform: Platform) -> bool:
    """Whether the engine can have the example's own base image."""
    (pinned,) = [
        line.removeprefix("ARG BASE=")
        for line in (SOURCE / "Dockerfile").read_text().splitlines()
        if line.startswith("ARG BASE=")
    ]
    return platform.run(["docker", "pull", "--quiet", pinned], check=False).returncode == 0


def _outside(*words: str) -> None:
    ran = subprocess.run([*OUTSIDE, *words], capture_output=True, text=True, check=False)
    assert not ran.returncode, ran.stdout + ran.stderr


def _stand_in(folder: Path) -> tuple[str, str]:
    """A base image of Debian packages, and its architecture."""
    bases = folder / "bases.json"
    script = CHECKOUT / "sandbox" / "images" / "provide.sh"
    _outside("sh", str(script), str(folder / "images.json"), "--bases", str(bases))
    python = json.loads(bases.read_text())["python"]
    ((architecture, digest),) = python["manifests"].items()
    return f"{python['repository']}@{digest}", architecture


def _wheels(folder: Path, architecture: str) -> Path:
    wheels = folder / "wheels"
    tags = [word for tag in PLATFORMS for word in ("--platform", f"{tag}_{MACHINES[architecture]}")]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    target = ["--dest", str(wheels), "--only-binary", ":all:", "--python-version", "3.13", *tags]
    # pip judges "python_version < …" by the interpreter that it runs in; all that is needed is listed anyway.
    which = ["--no-deps", "--require-hashes", "--requirement", str(SOURCE / "requirements.txt")]
    _outside(*pip, *target, *which)
    return wheels


@pytest.fixture(scope="module")
def example(running: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The example on the session's platform."""
    lines: dict[str, str] = {}
    wheels = None
    if not _reachable(running):
        folder = tmp_path_factory.mktemp("example")
        base, architecture = _stand_in(folder)
        running.docker("pull", "--quiet", base)
        lines = {"BASE": base, "PIP_NO_INDEX": "1"}
        wheels = _wheels(folder, architecture)
    running.settle()
    with deployed(running, lines, wheels) as made:
        until(lambda: running.healthy(CONTAINER), seconds=60, what="the example healthy")
        yield made
    assert made.left_behind() == []


def _new_book_and_member() -> tuple[int, int]:
    status, book = ask("/books", {"title": "100 % _Rust_", "author": "O'Brien; DROP TABLE books"})
    assert status == 201, book
    status, member = ask("/members", {"name": "Zoë"})
    assert status == 201, member
    return book["id"], member["id"]


def test_a_book_is_lent_once_and_both_stores_know(example: Deployed) -> None:
    platform = example.platform
    book, member = _new_book_and_member()
    said = {"id": book, "title": "100 % _Rust_", "author": "O'Brien; DROP TABLE books"}
    assert ask(f"/books/{book}") == (200, {**said, "available": True, "views": 1})
    assert ask("/books?title=0%20%25%20_r") == (200, [said])
    assert ask("/books?title=__")[1] == []

    status, loan = ask("/loans", {"book": book, "member": member})
    assert status == 201, loan
    assert ask("/loans", {"book": book, "member": member})[0] == 409
    assert ask(f"/books/{book}") == (200, {**said, "available": False, "views": 2})
    open_loans = f"SELECT id, member FROM loans WHERE book = {book} AND returned_at IS NULL"
    assert platform.psql(open_loans, database=NAME) == f"{loan['id']}|{member}"
    redis = platform.redis()
    assert json.loads(redis.get(f"{NAME}:book:{book}")) == said  # type: ignore[arg-type]
    assert 0 < redis.ttl(f"{NAME}:book:{book}") <= 300  # type: ignore[operator]
    assert redis.get(f"{NAME}:views:{book}") == b"2"

    assert ask("/returns", {"loan": loan["id"]})[0] == 201
    assert ask("/returns", {"loan": loan["id"]})[0] == 409
    assert platform.psql(open_loans, database=NAME) == ""
    assert [ask("/loans", {"book": book, "member": 10**9})[0], ask("/books/999999")[0]] == [404, 404]


def test_its_tables_are_the_owner_s_and_made_past_the_pooler(example: Deployed) -> None:
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename IN ('books', 'loans', 'members')"
    assert example.platform.psql(owners, database=NAME) == f"{NAME}_owner"
    # The pooler's own sessions, over PostgreSQL's socket, are all that is left of it in PostgreSQL.
    from_where = f"SELECT DISTINCT coalesce(host(client_addr), 'socket') FROM pg_stat_activity WHERE usename = '{NAME}_user'"
    assert example.platform.psql(from_where) == "socket"


def test_it_has_no_rights_but_to_read_its_own_folder(example: Deployed) -> None:
    platform = example.platform
    status = platform.docker("exec", CONTAINER, "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert {fields[kind] for kind in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    for path in ("/srv/application/new", "/app/new", "/tmp/new"):
        assert platform.run(["docker", "exec", CONTAINER, "touch", path], check=False).returncode, path
    logs = platform.run(["docker", "logs", CONTAINER])
    layers = platform.docker("history", "--no-trunc", f"{NAME}-{NAME}")
    for secret in platform.application_secrets[NAME].values():
        assert secret not in logs.stdout + logs.stderr + layers


def test_nobody_notices_that_its_passwords_change(example: Deployed) -> None:
    platform = example.platform
    before = platform.docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", CONTAINER)
    with Borrower(*_new_book_and_member()) as borrower:
        for _ in range(2):
            for store in platform.application_secrets[NAME]:
                platform.application_secrets[NAME][store] = f"CANARY{secrets.token_hex(12)}"
            platform.write_config()
            platform.up()
            # From here on nothing goes by a session of before the change: neither the pooler's nor the example's with Redis.
            example.reconnect_the_pooler()
            platform.redis().client_kill_filter(user=NAME)  # type: ignore[call-arg]
            goal = borrower.rounds + 20
            until(
                lambda goal=goal: borrower.rounds > goal or borrower.faults != [],
                seconds=60,
                what="more loans",
            )
    assert borrower.faults == [], example.warnings()
    assert platform.docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", CONTAINER) == before
    # The manual's command takes the new variables over into the container.
    example.sh(DEPLOY)
    until(lambda: platform.healthy(CONTAINER), seconds=60, what="the example healthy again")
    assert platform.docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", CONTAINER) != before
