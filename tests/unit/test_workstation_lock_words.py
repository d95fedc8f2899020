"""What an operator is told of a lock on the state, whatever the backend."""

import os
import time
from pathlib import Path

import pytest

from scripts.workstation import backend, run_pulumi
from scripts.workstation.session import Session
from scripts.workstation.trouble import Trouble

# As CLI 3.259 says it (pkg/backend/diy/lock.go).
LOCKED = (
    "error: the stack is currently locked by {count} lock(s). Either wait for the other process(es) to end or delete the lock file "
    "with `pulumi cancel`.\n"
)
HOLDER = "  s3://state/.pulumi/locks/organization/p/prod/5d.json?region=x: created by {who}@{machine} (pid {pid}) at {since}\n"
# As Pulumi Cloud says it.
CONFLICT = "error: [409] Conflict: Another update is currently in progress.\nTo learn more about possible reasons and resolution, visit https://…"


def said(*holders: tuple[str, str, int, str]) -> str:
    lines = [HOLDER.format(who=w, machine=m, pid=p, since=s) for w, m, p, s in holders]
    return LOCKED.format(count=len(lines)) + "".join(lines)


def test_a_lock_is_told_by_who_since_when_and_what_to_do() -> None:
    assert backend.locked(said(("me", "laptop.local", 4242, "2026-11-25T21:00:12+02:00")), "prod") == (
        "the state of stack prod is locked: me on laptop.local (pid 4242) since 2026-11-25 19:00:12 UTC; wait for that to end, then "
        "run the same command again; only where it was killed: pulumi cancel --stack prod, and what docs/state.md says of a lock that is left"
    )


def test_several_holders_and_a_time_that_cannot_be_read() -> None:
    sentence = backend.locked(
        said(("me", "laptop", 1, "2026-11-25T19:00:12Z"), ("ci", "runner-1", 22, "yesterday")), "prod"
    )
    assert sentence
    assert (
        "me on laptop (pid 1) since 2026-11-25 19:00:12 UTC and ci on runner-1 (pid 22) since yesterday;"
        in sentence
    )


def test_pulumi_cloud_names_no_holder() -> None:
    sentence = backend.locked(CONFLICT, "prod")
    assert sentence
    assert "its page in Pulumi Cloud (pulumi console) names who runs it; wait for that to end" in sentence


@pytest.mark.parametrize(
    "message", ["", "error: no stack named 'prod' found", "error: [409] Conflict: stack already exists"]
)
def test_other_faults_are_left_as_they_are(message: str) -> None:
    assert backend.locked(message, "prod") is None


def run(tmp_path: Path, script: str) -> int:
    program = tmp_path / "pulumi"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    session = Session(stack="prod", environment=dict(os.environ), executable=str(program))
    return run_pulumi.attached(session, [session.executable, "up"])


def test_what_pulumi_says_is_passed_on_with_its_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, 'echo "$*"; echo "warning: é" >&2; exit 255') == 255
    assert capfd.readouterr() == ("up\n", "warning: é\n")


def test_a_refusal_because_of_a_lock_becomes_the_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "said").write_text(said(("me", "laptop", 7, "2026-11-25T19:00:12Z")))
    with pytest.raises(
        Trouble, match=r"^the state of stack prod is locked: me on laptop \(pid 7\)"
    ) as trouble:
        run(tmp_path, f"cat {tmp_path}/said >&2; exit 3")
    assert trouble.value.code == 3
    assert "is currently locked by 1 lock(s)" in capfd.readouterr().err


def test_a_plugin_that_outlives_a_killed_pulumi_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pulumi, "PLUGIN_SECONDS", 0.2)
    began = time.monotonic()
    assert run(tmp_path, "sleep 30 & kill -9 $$") == -9
    assert time.monotonic() - began < 15
