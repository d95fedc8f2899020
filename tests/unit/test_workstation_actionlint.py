"""Where actionlint comes from."""

import io
from pathlib import Path

import pytest

from scripts.workstation import actionlint, go_build, pinned
from scripts.workstation.progress import Step
from scripts.workstation.trouble import Trouble


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH and an empty cache; the folder that is PATH."""
    monkeypatch.setattr(actionlint, "CACHE", tmp_path / "cache")
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def find() -> str:
    return actionlint.find_or_build(Step(io.StringIO(), "actionlint"))


def test_the_one_on_path_is_taken(bare: Path) -> None:
    (bare / "actionlint").write_text("#!/bin/sh\n")
    (bare / "actionlint").chmod(0o755)
    assert find() == str(bare / "actionlint")


@pytest.mark.usefixtures("bare")
def test_it_is_built_once_by_its_pinned_version(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[str, ...]] = []

    def build(folder: str, package: str, output: Path, *, stamps: tuple[str, ...]) -> None:
        built.append((folder, package, *stamps))
        output.write_text("program")

    monkeypatch.setattr(go_build, "require_go", lambda _: None)
    monkeypatch.setattr(go_build, "build", build)
    program = Path(find())
    assert find() == str(program)
    version = pinned.actionlint_version()
    assert built == [
        (
            "actionlint",
            "github.com/rhysd/actionlint/cmd/actionlint",
            f"github.com/rhysd/actionlint.version={version}",
        )
    ]
    assert program.read_text() == "program"
    assert [path.name for path in program.parent.iterdir()] == ["actionlint"]
    assert version in program.parent.name


@pytest.mark.usefixtures("bare")
def test_without_go_one_sentence_says_what_to_install() -> None:
    with pytest.raises(
        Trouble, match=r"actionlint is not on PATH, which looks at the workflows; install it, or Go"
    ):
        find()
