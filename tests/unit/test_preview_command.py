"""make preview and make up around pulumi: what it is told, exit codes, the file for a comment, the question before an `up`."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.workstation import confirmed_up, preview, restarts, run_pulumi
from scripts.workstation.progress import Progress
from scripts.workstation.restarts import Stopwatch
from scripts.workstation.session import POLICY_PACK, Session
from scripts.workstation.summary import Section, Summary
from scripts.workstation.summary_pages import MARK, MOST_BYTES, as_markdown, as_text
from scripts.workstation.trouble import Trouble
from tests.unit.conftest import GOLDEN

RESTART = "image"


class FakePulumi:
    """Writes down how it was called, prints, copies an event log to where it is asked to, and ends with a code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "pulumi"
        self.does("nothing")

    def does(self, recorded: str | None, *, code: int = 0, prints: str = "the difference") -> None:
        log = f'cat {GOLDEN}/preview/{recorded}.jsonl >"$log"' if recorded else ":"
        self.program.write_text(
            f"""#!/bin/sh
echo "$@" >>{self.folder}/calls
echo "$PULUMI_DEBUG_COMMANDS" >>{self.folder}/debug
log=/dev/null
while [ $# -gt 0 ]; do [ "$1" != --event-log ] || log=$2; shift; done
echo "$log" >>{self.folder}/logs
{log}
cat <<'TEXT'
{prints}
TEXT
echo "on its other output" >&2
exit {code}
"""
        )
        self.program.chmod(0o755)

    def session(self) -> Session:
        return Session(stack="prod", environment=dict(os.environ), executable=str(self.program))

    def calls(self) -> list[str]:
        """The words, with LOG for the event log's path, and without the policy pack that goes with each."""
        logs = (self.folder / "logs").read_text().splitlines()
        said = (self.folder / "calls").read_text().replace(f" --policy-pack {POLICY_PACK}", "").splitlines()
        return [words.replace(log, "LOG") for words, log in zip(said, logs, strict=True)]


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    made = FakePulumi(tmp_path)
    monkeypatch.setenv("STACK", "prod")
    monkeypatch.setattr(preview.prepare, "users_session_for_changes", made.session)
    monkeypatch.setattr(restarts, "STATE", tmp_path / "state")
    return made


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["preview", *words])
    return preview.main()


def test_pulumi_s_own_text_comes_first_and_then_the_summary(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pulumi.does(RESTART)
    assert run(monkeypatch, "--diff", "--refresh") == 0
    assert pulumi.calls() == ["preview --diff --refresh --event-log LOG --stack prod"]
    said = capfd.readouterr().out
    assert (
        said.index("the difference")
        < said.index("What up will do to stack prod:")
        < said.index("postgres-db restarts")
    )


def test_the_log_is_ours_alone_and_gone_afterwards(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi.does(RESTART, prints='$(stat -c %a "$(dirname "$log")")')
    run(monkeypatch)
    (log,) = (pulumi.folder / "logs").read_text().split()
    assert (pulumi.folder / "debug").read_text() == "true\n"
    assert not Path(log).parent.exists()


@pytest.mark.parametrize("words", [[], ["--summary", "FILE"]])
def test_the_exit_code_is_pulumi_s(
    pulumi: FakePulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    words = [str(tmp_path / "preview.md") if word == "FILE" else word for word in words]
    pulumi.does("subnet", code=255)
    assert run(monkeypatch, *words) == 255


def test_where_pulumi_did_not_begin_there_is_no_summary_to_show(
    pulumi: FakePulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pulumi.does(None, code=1, prints="error: no stack named 'prod' found")
    file = tmp_path / "preview.md"
    assert run(monkeypatch, f"--summary={file}") == 1
    assert "What up will do" not in capfd.readouterr().out
    text = file.read_text()
    assert "**The preview of stack prod failed: up would stop there.**" in text
    assert "error: no stack named 'prod' found" in text
    assert "on its other output" in text


def test_the_file_for_a_comment(
    pulumi: FakePulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pulumi.does(RESTART)
    file = tmp_path / "preview.md"
    assert run(monkeypatch, "--summary", str(file)) == 0
    assert pulumi.calls() == ["preview --diff --color=never --event-log LOG --stack prod"]
    shown = capfd.readouterr()
    assert "the difference" in shown.out
    assert "on its other output" in shown.err
    lines = file.read_text().splitlines()
    assert lines[:2] == [MARK, "## Preview of stack prod"]
    assert "### Containers" in lines
    begin = lines.index("<details><summary>What pulumi printed</summary>")
    assert lines[begin + 1 : begin + 4] == ["", "```text", "the difference"]
    assert lines[-3:] == ["```", "", "</details>"]


def test_what_was_asked_for_is_not_asked_for_twice(
    pulumi: FakePulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "--diff", "--color", "never", "--summary", str(tmp_path / "x.md"))
    assert pulumi.calls() == ["preview --diff --color never --event-log LOG --stack prod"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--summary"], "--summary needs the name of a file; write --summary preview.md"),
        (["--summary", "--diff"], "--summary needs the name of a file; write --summary preview.md"),
        (["--summary", "x", "--json"], "--summary does not go together with --json; leave one of them out"),
        (
            ["--summary", "x", "--show-secrets=true"],
            "--summary does not go together with --show-secrets; leave one of them out",
        ),
    ],
)
def test_words_that_do_not_go_together(words: list[str], sentence: str) -> None:
    with pytest.raises(Trouble) as refused:
        preview.split(words)
    assert str(refused.value) == sentence


def test_json_is_left_to_whoever_reads_it(
    pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--json") == 0
    assert pulumi.calls() == ["preview --json --stack prod"]
    assert capfd.readouterr().out == "the difference\n"


# --- pages ---


LOUD = Summary(
    headline="What up will do to stack prod:",
    sections=[
        Section(title="DATA", lines=["the bucket is DELETED"], loud=True),
        Section(
            title="Waivers in force",
            lines=["shop, until 2027-06-30: @alice <b>has</b> `it` *in hand* [now](x)"],
        ),
    ],
)


def test_a_page_for_a_terminal() -> None:
    assert as_text(LOUD).splitlines() == [
        "What up will do to stack prod:",
        "  DATA!",
        "    ! the bucket is DELETED",
        "  Waivers in force",
        "    - shop, until 2027-06-30: @alice <b>has</b> `it` *in hand* [now](x)",
    ]


def test_what_people_wrote_is_no_markdown_and_calls_nobody() -> None:
    text = as_markdown(LOUD, stack="prod", printed="")
    assert "- **the bucket is DELETED**" in text
    assert r"@<!-- -->alice \<b\>has\</b\> \`it\` \*in hand\* \[now\](x)" in text


def test_nothing_that_pulumi_prints_ends_the_block() -> None:
    printed = "before\n```\n````\n</details>\nafter"
    lines = as_markdown(LOUD, stack="prod", printed=printed).splitlines()
    assert lines.count("`````text") == lines.count("`````") == 1
    assert lines.index("`````text") < lines.index("````") < lines.index("`````")


@pytest.mark.parametrize("character", ["x", "ö", "✓"])
def test_a_comment_is_never_longer_than_it_may_be(character: str) -> None:
    printed = "\n".join(f"{number} {character * 60}" for number in range(5000))
    text = as_markdown(LOUD, stack="prod", printed=printed)
    assert MOST_BYTES - 200 < len(text.encode()) <= MOST_BYTES
    assert (
        "(cut off here: a comment holds no more than 65,536 characters; all of it: make preview STACK=prod ARGS=--diff)"
        in text
    )
    assert text.endswith("```\n\n</details>\n")
    # Whole lines.
    assert text.splitlines()[text.splitlines().index("```text") + 1] == f"0 {character * 60}"
    assert all(len(line.split()[1]) == 60 for line in text.splitlines() if line[:1].isdigit())


def test_a_summary_that_is_too_long_leaves_room_for_the_rest() -> None:
    long = Summary(headline="x", sections=[Section(title="Files", lines=["f" * 100] * 2000)])
    text = as_markdown(long, stack="prod", printed="the difference")
    assert len(text.encode()) <= MOST_BYTES
    assert "(cut off here" in text
    assert "the difference" in text


# --- make up ---


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A terminal on which somebody answers."""

    class Tty:
        def isatty(self) -> bool:
            return True

    def answers(word: str) -> None:
        monkeypatch.setattr(confirmed_up.sys, "stdin", Tty())
        monkeypatch.setattr(confirmed_up.sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda _: word)

    return answers


def test_up_shows_the_summary_asks_and_does_it(
    pulumi: FakePulumi, terminal: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    pulumi.does(RESTART)
    terminal("yes")
    assert confirmed_up.up(pulumi.session(), ["--refresh", "--continue-on-error"]) == 0
    assert pulumi.calls() == [
        "preview --refresh --event-log LOG --stack prod",
        "up --skip-preview --refresh --continue-on-error --event-log LOG --stack prod",
    ]
    assert "postgres-db restarts" in capsys.readouterr().out


def test_up_does_nothing_without_a_yes(pulumi: FakePulumi, terminal: Callable[[str], None]) -> None:
    terminal("no")
    with pytest.raises(Trouble, match=r"^nothing was done$"):
        confirmed_up.up(pulumi.session(), [])
    assert len(pulumi.calls()) == 1


def test_up_does_nothing_after_a_preview_that_failed(
    pulumi: FakePulumi, terminal: Callable[[str], None]
) -> None:
    terminal("yes")
    pulumi.does("subnet", code=255)
    assert confirmed_up.up(pulumi.session(), []) == 255
    assert len(pulumi.calls()) == 1


@pytest.mark.parametrize("option", ["--yes", "-y", "--skip-preview", "--yes=true", "--json"])
def test_who_has_answered_is_not_asked(
    pulumi: FakePulumi, terminal: Callable[[str], None], option: str
) -> None:
    terminal("no")
    assert confirmed_up.up(pulumi.session(), [option]) == 0
    assert pulumi.calls() == [f"up {option} --stack prod"]


def test_where_nobody_can_be_asked_pulumi_is_left_alone(pulumi: FakePulumi) -> None:
    assert confirmed_up.up(pulumi.session(), ["--refresh"]) == 0
    assert pulumi.calls() == ["up --refresh --stack prod"]


# --- seconds ---


CONTAINER = "docker:index/container:Container"


def step(op: str, name: str = "platform-redis-container", token: str = CONTAINER) -> dict[str, Any]:
    return {
        "op": op,
        "urn": f"urn:pulumi:prod::p::{token}::{name}",
        "type": token,
        "new": {"inputs": {"name": "redis-cache"}},
    }


def test_a_container_is_away_from_its_stop_until_the_new_one_is_healthy() -> None:
    watch = Stopwatch()
    watch.hear({"resourcePreEvent": {"metadata": step("delete-replaced")}}, 10)
    watch.hear({"resOutputsEvent": {"metadata": step("delete-replaced")}}, 12)
    watch.hear({"resourcePreEvent": {"metadata": step("create-replacement")}}, 13)
    assert watch.seconds == {}
    watch.hear({"resOutputsEvent": {"metadata": step("create-replacement")}}, 16.25)
    assert watch.seconds == {"redis-cache": 6.25}


def test_what_is_made_or_is_no_container_is_not_timed() -> None:
    watch = Stopwatch()
    for one in (
        step("create"),
        step("create-replacement"),
        step("delete-replaced", "x", "docker:index/remoteImage:RemoteImage"),
    ):
        watch.hear({"resourcePreEvent": {"metadata": one}}, 1)
        watch.hear({"resOutputsEvent": {"metadata": one}}, 2)
    assert watch.seconds == {}


def test_the_last_figures_of_a_stack_are_better_than_ours(tmp_path: Path) -> None:
    path = tmp_path / "prod" / "restarts.json"
    ours = restarts.expected("postgres-db", path)
    assert ours is not None
    assert ours.source == restarts.MEASURED_WHERE
    restarts.remember(path, {"postgres-db": 3.14, "redis-cache": 2.0}, now=1_795_000_000)
    restarts.remember(path, {"postgres-db": 4.0}, now=1_795_100_000)
    restarts.remember(path, {})
    postgres, redis = (restarts.expected(name, path) for name in ("postgres-db", "redis-cache"))
    assert (postgres, redis) == (
        restarts.Expected(seconds=4.0, source="this stack's last one, on 2026-11-19"),
        restarts.Expected(seconds=2.0, source="this stack's last one, on 2026-11-18"),
    )
    assert restarts.expected("mysql", path) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"postgres-db": {"seconds": "soon", "day": "x"}}', '{"postgres-db": 3}']
)
def test_figures_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "restarts.json"
    path.write_text(text)
    found = restarts.expected("postgres-db", path)
    assert found is not None
    assert found.source == restarts.MEASURED_WHERE


def test_an_up_that_is_followed_remembers_its_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.workstation.shell.LOGS", tmp_path / "logs")
    monkeypatch.setattr(restarts, "STATE", tmp_path)
    program = tmp_path / "pulumi"
    events = [
        json.dumps({"resourcePreEvent": {"metadata": step("delete-replaced")}}),
        json.dumps({"resOutputsEvent": {"metadata": step("create-replacement")}}),
    ]
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in events))
    program.chmod(0o755)
    session = Session(stack="local", environment=dict(os.environ), executable=str(program))
    with Progress(1).step("pulumi up") as one:
        run_pulumi.followed(session, session.words("up"), step=one, what="up")
    known = json.loads((tmp_path / "local" / "restarts.json").read_text())
    assert list(known) == ["redis-cache"]
    assert 0 <= known["redis-cache"]["seconds"] < 5


def test_an_event_log_gives_whole_seconds() -> None:
    log = [
        {"timestamp": 100, "resourcePreEvent": {"metadata": step("delete-replaced")}},
        {"timestamp": 107, "resOutputsEvent": {"metadata": step("create-replacement")}},
    ]
    assert restarts.of_log(log) == {"redis-cache": 7.0}
