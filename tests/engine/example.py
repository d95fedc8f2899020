"""The application in examples/librarian as an operator deploys it, and a client of it."""

import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.platform import CHECKOUT, PATIENCE_SECONDS, Platform

NAME = "librarian"
CONTAINER = f"{NAME}-{NAME}-1"
SOURCE = CHECKOUT / "examples" / NAME
URL = "http://127.0.0.1:8080"
# As the manual has it; the tests are root already.
DEPLOY = "docker compose --env-file ./server.env up -d"


def ask(path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Status and answer of one request; with a body it is a POST."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(URL + path, data, timeout=30) as answer:  # noqa: S310 - a constant
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@dataclass(frozen=True)
class Deployed:
    """The example, running."""

    platform: Platform
    # What the engine had before.
    images: frozenset[str]

    @property
    def folder(self) -> Path:
        return self.platform.srv / "apps" / NAME

    def sh(self, line: str) -> str:
        """A line as the operator types it, in the application's folder."""
        ran = subprocess.run(
            ["sh", "-euc", line],
            cwd=self.folder,
            env=self.platform.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert not ran.returncode, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def reconnect_the_pooler(self) -> None:
        """Have PgBouncer close its connections to PostgreSQL between transactions, as it does by itself in time, and open new ones."""
        image = self.platform.docker("inspect", "--format", "{{.Image}}", "postgres-db")
        socket = f"{self.platform.srv}/run/pgbouncer:/socket"
        console = [
            "psql",
            "-X",
            "-h",
            "/socket",
            "-p",
            "6432",
            "-U",
            "pgbouncer",
            "-c",
            "RECONNECT",
            "pgbouncer",
        ]
        run = ["run", "--rm", "--network", "none", "--user", "1001", "--volume", socket]
        self.platform.docker(*run, "--entrypoint", console[0], image, *console[1:])

    def warnings(self) -> str:
        """What its log holds beside requests."""
        log = self.platform.run(["docker", "logs", "--timestamps", CONTAINER])
        return "\n".join(line for line in (log.stdout + log.stderr).splitlines() if " INFO " not in line)

    def left_behind(self) -> list[str]:
        """What Docker has of it: containers, volumes, networks, and images with all that they were made of."""
        docker, mine = self.platform.docker, f"label=com.docker.compose.project={NAME}"
        return [
            *docker("ps", "--all", "--quiet", "--filter", mine).split(),
            *docker("volume", "ls", "--quiet", "--filter", mine).split(),
            *docker("network", "ls", "--quiet", "--filter", mine).split(),
            *(all_images(self.platform) - self.images),
        ]


def all_images(platform: Platform) -> frozenset[str]:
    """The ids of all that the engine has, those without a name among them."""
    return frozenset(platform.docker("images", "--all", "--quiet").split())


@contextmanager
def deployed(platform: Platform, lines: Mapping[str, str], wheels: Path | None) -> Iterator[Deployed]:
    """From the manual's command to its removal. `lines` are the operator's own in server.env, `wheels` a folder of packages."""
    example = Deployed(platform, all_images(platform))
    before = {path.name for path in example.folder.iterdir()}
    server_env = example.folder / "server.env"
    try:
        shutil.copytree(
            SOURCE, example.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
        if wheels:
            shutil.copytree(wheels, example.folder / "wheels")
        with server_env.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in lines.items())
        example.sh(DEPLOY)
        yield example
    finally:
        if (example.folder / "compose.yaml").exists():
            example.sh("docker compose --env-file ./server.env down --volumes")
            # Unlike `down --rmi all` with the steps of its build, which a classic builder keeps as images.
            example.sh(f"! docker image inspect {NAME}-{NAME} >/dev/null 2>&1 || docker rmi {NAME}-{NAME}")
        for path in example.folder.iterdir():
            if path.name not in before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        _without_lines(server_env, lines)
        platform.psql("DROP TABLE IF EXISTS loans, books, members, migrations", database=NAME)
        redis = platform.redis()
        for kind in ("book", "views"):
            for key in redis.scan_iter(match=f"{NAME}:{kind}:*"):
                redis.delete(key)


def _without_lines(file: Path, lines: Mapping[str, str]) -> None:
    """Take them out in place, so that owner and mode stay."""
    added = {f"{name}={value}\n" for name, value in lines.items()}
    kept = [line for line in file.read_text().splitlines(keepends=True) if line not in added]
    file.write_text("".join(kept))


class Borrower:
    """Lends and returns one book all the time, in a thread, and keeps every answer that is not the expected one."""

    def __init__(self, book: int, member: int) -> None:
        self.rounds = 0
        self.faults: list[Any] = []
        self._book, self._member = book, member
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Borrower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self._round()
            except (OSError, AssertionError, ValueError) as fault:
                self.faults.append(fault)

    def _round(self) -> None:
        status, loan = ask("/loans", {"book": self._book, "member": self._member})
        assert status == 201, loan
        status, back = ask("/returns", {"loan": loan["id"]})
        assert status == 201, back
        status, book = ask(f"/books/{self._book}")
        self.rounds += 1
        assert (status, book.get("available"), book.get("views")) == (200, True, self.rounds), book
        status, health = ask("/health")
        assert status == 200, health
