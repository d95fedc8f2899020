"""What an operator sees: one line a step, pulumi's events as short lines, errors once."""

import io
from typing import Any

import pytest

from scripts.workstation import trouble
from scripts.workstation.events import Narrator, summary
from scripts.workstation.progress import Progress, duration

URN = "urn:pulumi:local::p::docker:index/container:Container::redis"


def step(op: str, *, custom: bool = True, kind: str = "docker:index/container:Container") -> dict[str, Any]:
    return {"op": op, "urn": URN, "type": kind, "new": {"custom": custom}}


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_durations() -> None:
    assert [duration(s) for s in (0.44, 9.96, 42.4, 242)] == ["0.4 s", "10.0 s", "42 s", "4 min 2 s"]


def test_one_line_a_step() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream)
    with progress.step("engine") as first:
        first.result("20.10")
    with progress.step("pulumi") as second:
        second.line("created x")
    assert (
        stream.getvalue()
        == "[1/2] engine ... 20.10, 0.0 s\n[2/2] pulumi ... \n      created x\n[2/2] pulumi: 0.0 s\n"
    )


def test_a_failed_step_ends_its_line() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="x"), Progress(1, stream).step("engine"):
        raise ValueError("x")
    assert stream.getvalue() == "[1/1] engine ... failed after 0.0 s\n"


def test_events_become_short_lines() -> None:
    said: list[str] = []
    clock = Clock()
    narrator = Narrator(said.append, clock)
    narrator.hear({"resourcePreEvent": {"metadata": step("create")}})
    clock.now = 25
    narrator.tick()
    narrator.hear({"resOutputsEvent": {"metadata": step("create")}})
    assert said == ["… waiting for Container redis (25 s)", "created Container redis (25 s)"]


@pytest.mark.parametrize(
    "silent", [step("same"), step("create", custom=False), step("create", kind="pulumi:providers:docker")]
)
def test_book_keeping_is_not_shown(silent: dict[str, Any]) -> None:
    said: list[str] = []
    narrator = Narrator(said.append)
    narrator.hear({"resourcePreEvent": {"metadata": silent}})
    narrator.hear({"resOutputsEvent": {"metadata": silent}})
    assert said == []


def test_errors_are_kept_once_and_debug_lines_not_at_all() -> None:
    said: list[str] = []
    narrator = Narrator(said.append)
    for severity, message in [
        ("debug", "registering hunter2"),
        ("warning", "careful"),
        ("warning", "careful"),
        ("error", "postgres.port is 99999; write less"),
        ("error", "an unhandled error occurred: program exited with non-zero exit code: 1"),
    ]:
        narrator.hear({"diagnosticEvent": {"severity": severity, "message": f"{message}\n"}})
    assert said == ["warning: careful"]
    assert narrator.errors == ["postgres.port is 99999; write less"]


FAILED = 'exit status {code}: running "{program} -c \'set -eu\\necho \\"x\\": y\'":\n{output}'


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            FAILED.format(code=1, program="sudo -n sh", output="/srv holds files; move them\n"),
            "/srv holds files; move them",
        ),
        (
            FAILED.format(code=3, program="sh", output=""),
            "a command ended with exit status 3 and printed nothing",
        ),
        (
            FAILED.format(
                code=1, program="ssh -o BatchMode=yes", output="the volume is not attached; attach it"
            ),
            "the volume is not attached; attach it",
        ),
        (
            "Error: unable to start container: port is taken",
            "Error: unable to start container: port is taken",
        ),
    ],
)
def test_a_failed_command_shows_what_it_printed(message: str, said: str) -> None:
    narrator = Narrator(lambda _: None)
    narrator.hear({"diagnosticEvent": {"severity": "error", "message": message, "urn": URN}})
    assert narrator.errors == [f"redis: {said}"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "components.host_state.ScriptFailed: database x belongs to y; give it back\n\n",
            "database x belongs to y; give it back",
        ),
        (
            "updating urn:pulumi:local::p::t::n: components.host_state.ScriptFailed: a\nb\nc\nlast; do this\n",
            "b\n       c\n       last; do this",
        ),
        (
            "components.host_state.HostUnreachable: ssh: connect to host 203.0.113.5 port 22: Connection refused",
            "the host does not answer over ssh (ssh: connect to host 203.0.113.5 port 22: Connection refused); see that it runs "
            "and that your address is in host.sshCidrs; if it is lost, run make recover-host STACK=local",
        ),
        ("a.b.c: not an exception", "a.b.c: not an exception"),
        ("the setting components.x.Y: is odd", "the setting components.x.Y: is odd"),
    ],
)
def test_what_a_script_of_a_dynamic_resource_printed_is_shown_alone(message: str, said: str) -> None:
    narrator = Narrator(lambda _: None)
    narrator.hear({"diagnosticEvent": {"severity": "error", "message": message, "urn": URN}})
    assert narrator.errors == [f"redis: {said}"]


APPLICATION = "central-data-platform:components:Application"


def removal(name: str, *, op: str = "delete", kind: str = APPLICATION) -> dict[str, Any]:
    return {"op": op, "urn": f"urn:pulumi:s::p::{kind}::{name}", "type": kind, "old": {}, "new": None}


def heard(*steps: dict[str, Any], **options: Any) -> list[str]:
    said: list[str] = []
    narrator = Narrator(said.append, **options)
    for one in steps:
        narrator.hear({"resourcePreEvent": {"metadata": one}})
        narrator.hear({"resOutputsEvent": {"metadata": one}})
    return said


def test_a_removed_application_is_said_to_be_kept() -> None:
    sentence = (
        "application librarian is no longer in the settings: its access is closed, its data is kept; "
        "delete for good: make drop-application NAME=librarian"
    )
    assert heard(removal("platform-application-librarian")) == [sentence]
    assert heard(removal("platform-application-librarian"), stack="prod-sim") == [
        f"{sentence} STACK=prod-sim"
    ]


def test_what_else_goes_is_no_removed_application() -> None:
    name = "platform-application-librarian"
    assert heard(removal(name, op="create"), removal(name, op="same")) == []
    assert (
        heard(removal("platform-redis"), removal(name, kind="central-data-platform:components:Redis")) == []
    )
    # Nor does one go from the settings where all of the platform goes.
    assert heard(removal(name), removing_all=True) == []


def test_a_connection_that_fails_within_a_command_is_explained() -> None:
    message = FAILED.format(
        code=255, program="ssh", output="ssh: connect to host 192.0.2.9 port 22: Connection refused\n"
    )
    narrator = Narrator(lambda _: None, stack="prod")
    narrator.hear({"diagnosticEvent": {"severity": "error", "message": message}})
    assert "does not answer over ssh" in narrator.errors[0]
    assert "STACK=prod" in narrator.errors[0]
    assert "set -eu" not in narrator.errors[0]


def test_summaries() -> None:
    assert summary({"same": 40}) == "nothing to change in 40 resources"
    assert summary({"create": 2, "update": 1, "same": 3}) == "2 created, 1 changed"


def test_trouble_is_one_sentence_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise trouble.Trouble("the engine is asleep; wake it", 3)

    with pytest.raises(SystemExit) as ended:
        trouble.command(main)
    assert ended.value.code == 3
    assert capsys.readouterr().err == "error: the engine is asleep; wake it\n"
