"""`make status`: what goes to the host, and what is said where none answers."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.workstation import status, target
from scripts.workstation.engine import Engine
from scripts.workstation.ssh import Ssh
from scripts.workstation.target import Here, There
from scripts.workstation.trouble import Trouble
from tests.unit.test_workstation_ssh import OUTPUTS, WORDS, FakeSsh

OF_LAST_UP = {
    **OUTPUTS,
    "hostAddress": "198.51.100.10",
    "versions": {"postgres": "17.11", "pgbouncer": "1.25.2-6", "redis": "7.2.16"},
    "containers": dict.fromkeys(("postgres-db", "redis-cache", "pgbouncer", "postgres-wal"), "id"),
    "applications": {"librarian": {}, "trading-app": {}},
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSsh:
    """An ssh and a sudo on PATH, and a host with a status.sh that says what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (folder / "sudo").write_text('#!/bin/sh\n[ "$1" = -n ] || exit 9\nshift\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    script = tmp_path / "srv" / "apps" / "status.sh"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\necho "all of it: $*"\necho "a reason" >&2\nexit 1\n')
    script.chmod(0o755)
    made = FakeSsh(folder)
    made.says('eval "$line"')
    return made


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run it for a host behind ssh: exit code and what it printed."""
    host = There(
        stack="prod", srv_root=tmp_path / "srv", ssh=Ssh(words=WORDS, stack="prod"), outputs=OF_LAST_UP
    )
    monkeypatch.setattr(target, "find", lambda: host)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["status", *words])
        code = status.main()
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def test_the_host_s_own_answer_is_passed_on_with_its_exit_code(fake: FakeSsh, run: Run) -> None:
    assert run("--json") == (1, "all of it: --json --no-color\n", "a reason\n")
    (call,) = fake.calls()
    # Of two, ssh takes the first.
    assert call[:2] == ["-o", "ConnectTimeout=8"]
    assert call[2:-1] == list(WORDS[1:])


@pytest.mark.usefixtures("fake")
def test_here_the_script_is_run_with_the_terminal_that_we_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here = Here(stack="local", srv_root=tmp_path / "srv", engine=Engine(socket="unix:///x"))
    monkeypatch.setattr(target, "find", lambda: here)
    monkeypatch.setattr(sys, "argv", ["status"])
    seen: list[str] = []
    for terminal, environment in ((False, ""), (True, ""), (True, "1")):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal, raising=False)
        monkeypatch.setenv("NO_COLOR", environment)
        assert status.main() == 1
        seen.append(capfd.readouterr().out)
    assert seen == ["all of it: --no-color\n", "all of it: --color\n", "all of it: --no-color\n"]


TIMED_OUT = "echo 'ssh: connect to host 198.51.100.10 port 22: Connection timed out' >&2; exit 255"


def test_of_a_host_that_does_not_answer_the_screen_says_what_is_known(
    fake: FakeSsh, run: Run, golden: Callable[[str, str], None]
) -> None:
    fake.says(TIMED_OUT)
    code, said, errors = run()
    assert (code, errors) == (1, "")
    golden("status-unreachable.txt", said)


def test_of_a_host_that_does_not_answer_machines_get_their_form(fake: FakeSsh, run: Run) -> None:
    fake.says(TIMED_OUT)
    code, said, errors = run("--json")
    assert (code, errors) == (1, "")
    found = json.loads(said)
    assert found.keys() == {"schema", "generated", "checks"}
    assert found["schema"] == 1
    assert [check["name"] for check in found["checks"]] == ["host", *OF_LAST_UP["containers"]]
    assert {check["state"] for check in found["checks"]} == {"unknown"}
    assert "make recover-host STACK=prod" in found["checks"][0]["detail"]


def test_a_host_that_hangs_is_not_waited_for(
    fake: FakeSsh, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "PATIENCE_SECONDS", 1)
    fake.says("exec sleep 60")
    begun = time.monotonic()
    code, said, _ = run()
    assert time.monotonic() - begun < 40
    assert code == 1
    assert "the host has not answered within 1 s" in said


@pytest.mark.usefixtures("fake")
def test_before_the_first_up_it_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "srv/apps/status.sh").unlink()
    with pytest.raises(
        Trouble, match=r"status\.sh is not there, so the platform is not up yet; run make up STACK=prod"
    ):
        run()


def test_other_words_are_refused(run: Run) -> None:
    with pytest.raises(Trouble, match="make status knows only ARGS=--json, not --jsn"):
        run("--jsn")
