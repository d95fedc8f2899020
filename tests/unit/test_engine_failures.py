"""What the engine tests say once more at their end."""

from pathlib import Path

import pytest

from tests.engine import failures
from tests.engine.platform import CONTAINERS


def report(words: str) -> pytest.TestReport:
    return pytest.TestReport("tests/engine/test_x.py::test_y", ("x", 1, ""), {}, "failed", words, "setup")


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of failures, where no docker is but one that a test puts beside it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CDP_TEST_DOCKER_HOST", "unix:///nowhere")
    monkeypatch.setenv("CDP_TEST_FAILURES", str(tmp_path / "noted"))
    return tmp_path / "noted"


def test_a_failure_is_noted_with_its_reason_and_what_the_containers_said(noted: Path) -> None:
    docker = noted.with_name("docker")
    docker.write_text(
        "#!/bin/sh\nfor last; do :; done\necho \"out of $last\"\necho 'no such file' >&2\n", encoding="utf-8"
    )
    docker.chmod(0o755)
    failures.note(report("a long way\n" * 40 + "E  it is not so"))
    failures.note(report("another"))
    first, second = noted.read_text(encoding="utf-8").rstrip().split("\n\n")
    assert first.splitlines()[0] == "FAILED tests/engine/test_x.py::test_y (setup): it is not so"
    assert first.count("a long way") == failures.REASON_LINES - 1
    assert "  E  it is not so\n" in first
    for container in CONTAINERS:
        assert f"  {container}: out of {container}\n  {container}: no such file" in first
    assert "  another\n" in second


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (["E     error: the port is taken"], "error: the port is taken"),
        (['E     error: exit status 1: running "sh":', "E     nothing was changed"], "nothing was changed"),
    ],
    ids=["in its line", "in the next one"],
)
def test_the_first_line_is_what_pulumi_says_is_wrong(noted: Path, error: list[str], said: str) -> None:
    before = [
        "E   CommandError:",
        "E    code: 255",
        "E     x creating; error: 1",
        "E     error: update failed",
    ]
    failures.note(report("\n".join([*before, *error, "E     Duration: 4s", "_cmd.py:273: CommandError"])))
    first = noted.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"FAILED tests/engine/test_x.py::test_y (setup): {said}"


def test_a_docker_that_is_not_there_hides_no_failure(noted: Path) -> None:
    failures.note(report("E  it is not so"))
    text = noted.read_text(encoding="utf-8")
    assert "it is not so" in text
    assert text.count("No such file or directory: 'docker'") == len(CONTAINERS)
