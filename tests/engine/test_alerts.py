"""Alerts with a real receiver: what fails is told once, what was not taken is sent again, and the address stays in its file."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.engine.platform import Platform, canary
from tests.waiting import until

ADDRESS = canary()
LONG_AGO = 40 * 3600


class Receiver(ThreadingHTTPServer):
    """Takes messages on loopback, or answers that it cannot."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.messages: list[dict[str, Any]] = []

    def taken(self) -> list[tuple[str, str]]:
        """Check and state of what has come since the last time."""
        came, self.messages = self.messages, []
        return [(message["check"], message["state"]) for message in came]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200 and self.path == f"/{ADDRESS}":
            self.server.messages.append(message)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not in the tests' output."""


class Alerts:
    """alert.sh of the session's platform, with its own memory and a receiver."""

    def __init__(self, platform: Platform, receiver: Receiver) -> None:
        self.platform = platform
        self.receiver = receiver
        self.state = platform.srv / "backups/state"
        self.said = ""

    def run(self, *words: str, code: int = 0) -> None:
        """What a timer or an operator starts."""
        ran = self.platform.run(["sh", str(self.platform.srv / "apps/alert.sh"), *words], check=False)
        self.said += ran.stdout + ran.stderr
        assert ran.returncode == code, ran.stdout + ran.stderr

    def told(self) -> list[tuple[str, str]]:
        """The messages of one run."""
        self.run()
        return self.receiver.taken()

    def checks(self) -> dict[str, str]:
        ran = self.platform.run(["sh", str(self.platform.srv / "apps/status.sh"), "--json"], check=False)
        self.said += ran.stdout + ran.stderr
        return {check["name"]: check["state"] for check in json.loads(ran.stdout)["checks"]}

    def backup(self, *, ago: int, failed: bool = False) -> None:
        """A backup that was made so long ago, and one that has failed since."""
        (self.platform.srv / "backups/dumps/20200102T030405Z").mkdir(parents=True, exist_ok=True)
        self.state.mkdir(exist_ok=True)
        good = f"ok\t{int(time.time()) - ago}\tone database\n"
        (self.state / "dumps.good").write_text(good)
        (self.state / "dumps").write_text(f"fail\t{int(time.time())}\tno space\n" if failed else good)


@pytest.fixture
def alerts(running: Platform) -> Iterator[Alerts]:
    """Everybody has been told of what fails already; what the test notes is taken back."""
    webhook, backups = running.srv / "config/backup/webhook", running.srv / "backups"
    before, kept = webhook.read_text(), running.folder / "state before alerts"
    (backups / "state").mkdir(exist_ok=True)
    shutil.copytree(backups / "state", kept)
    for memory in (backups / "state").glob("alerts*"):
        memory.unlink()
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        webhook.write_text(f'url = "http://127.0.0.1:{receiver.server_port}/{ADDRESS}"\n')
        made = Alerts(running, receiver)
        made.run()
        receiver.taken()
        try:
            yield made
        finally:
            receiver.shutdown()
            webhook.write_text(before)
            shutil.rmtree(backups / "state")
            shutil.move(kept, backups / "state")
            shutil.rmtree(backups / "dumps/20200102T030405Z", ignore_errors=True)


@contextmanager
def watched() -> Iterator[set[bytes]]:
    """The command lines and environments of other processes in which the address was seen."""
    found: set[bytes] = set()
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.03):
            for process in Path("/proc").glob("[0-9]*"):
                if process.name != str(os.getpid()):
                    try:
                        seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                    except OSError:
                        continue
                    found.update([seen] if ADDRESS.encode() in seen else [])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        end.set()
        thread.join()


def test_a_late_backup_is_told_once_and_its_recovery_too(alerts: Alerts) -> None:
    with watched() as found:
        alerts.backup(ago=60)
        assert alerts.told() == []
        alerts.backup(ago=LONG_AGO, failed=True)
        # Nobody is there to take it: it is sent again until somebody is.
        alerts.receiver.status = 503
        alerts.run(code=1)
        assert alerts.checks()["alerts"] == "warn"
        alerts.receiver.status = 200
        assert alerts.told() == [("backup", "fail")]
        assert "alerts" not in alerts.checks()
        assert alerts.told() == []
        alerts.backup(ago=60)
        assert alerts.told() == [("backup", "ok")]
        assert alerts.told() == []
    assert found == set()
    assert ADDRESS not in alerts.said
    for path in alerts.state.iterdir():
        assert ADDRESS not in path.read_text(), path


def test_a_receiver_of_wal_that_stops_is_told(alerts: Alerts) -> None:
    assert alerts.checks()["wal"] == "ok"
    alerts.platform.docker("stop", "postgres-wal")
    try:
        (told,) = alerts.told()
        assert told == ("wal", "fail")
    finally:
        alerts.platform.docker("start", "postgres-wal")
    until(lambda: alerts.checks()["wal"] == "ok", seconds=30, what="WAL is received again")
    assert alerts.told() == [("wal", "ok")]


def test_an_operator_can_try_the_way(alerts: Alerts) -> None:
    with watched() as found:
        alerts.run("test")
        assert alerts.said.endswith("webhook: delivered\n")
        assert alerts.receiver.taken() == [("test", "ok")]
        alerts.receiver.status = 403
        alerts.run("test", code=1)
        assert alerts.said.endswith("webhook: not delivered: it answered with HTTP status 403\n")
    assert found == set()
