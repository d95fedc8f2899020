"""make upgrade-postgres and upgrade-redis: which image the host's script is given, and what follows it."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from scripts.workstation import config_file, prepare, target, up, upgrade
from scripts.workstation.config_file import ConfigFile
from scripts.workstation.trouble import Trouble

DIGEST = "sha256:" + "ab" * 32


@dataclass
class Calls:
    """What was done, in order; `code` is what the host's script ends with."""

    done: list[list[str]] = field(default_factory=list[list[str]])
    code: int = 0
    architecture: str = "arm64"


class FakeHost:
    """A host that only says its architecture."""

    stack = "prod"
    srv_root = Path("/srv")

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def docker(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(words, 0, f"{self.calls.architecture}\n", "")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    made = Calls()
    catalogue = tmp_path / "images.json"
    images = {name: {"repository": name, "manifests": {"arm64": DIGEST}} for name in ("postgres", "redis")}
    catalogue.write_text(json.dumps(images))
    stack = tmp_path / "Pulumi.prod.yaml"
    stack.write_text(f"config: {{'central-data-platform:imageCatalogue': {catalogue}}}\n")

    def run_script(_: Any, name: str, arguments: list[str]) -> int:
        made.done.append([name, *arguments])
        return made.code

    def bring_up() -> int:
        made.done.append(["up", *sys.argv[1:]])
        return 0

    monkeypatch.setattr(target, "find", lambda: cast("target.Target", FakeHost(made)))
    monkeypatch.setattr(target, "run_script", run_script)
    monkeypatch.setattr(up, "main", bring_up)
    monkeypatch.setattr(prepare, "own_stack", lambda: None)
    monkeypatch.setattr(config_file, "of_stack", lambda _: ConfigFile(path=stack))
    return made


def _upgrade(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["upgrade", *words])
    return upgrade.main()


def test_the_data_are_moved_then_up_starts_the_service_then_comes_the_rest(
    monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    assert _upgrade(monkeypatch, "postgres", "switch", "--yes") == 0
    assert calls.done == [
        ["upgrade-postgres.sh", "switch", f"postgres@{DIGEST}", "--yes"],
        ["up"],
        ["upgrade-postgres.sh", "finish"],
    ]


def test_redis_needs_no_more_than_up(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    assert _upgrade(monkeypatch, "redis", "back", "--yes") == 0
    assert calls.done == [["upgrade-redis.sh", "back", f"redis@{DIGEST}", "--yes"], ["up"]]


@pytest.mark.parametrize("words", [("rehearse",), ("drop", "--yes"), ("settle",)])
def test_what_stops_nothing_needs_no_up(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, words: tuple[str, ...]
) -> None:
    assert _upgrade(monkeypatch, "postgres", *words) == 0
    image = [f"postgres@{DIGEST}"] if words[0] == "rehearse" else []
    assert calls.done == [["upgrade-postgres.sh", words[0], *image, *words[1:]]]


def test_a_switch_that_failed_is_no_reason_for_up(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    calls.code = 1
    assert _upgrade(monkeypatch, "postgres", "switch", "--yes") == 1
    assert [done[0] for done in calls.done] == ["upgrade-postgres.sh"]


def test_faults_are_said_before_anything_is_done(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    with pytest.raises(Trouble, match=r"say make upgrade-redis ARGS=… with switch --yes"):
        _upgrade(monkeypatch, "redis")
    calls.architecture = "amd64"
    with pytest.raises(Trouble, match="no postgres image for amd64"):
        _upgrade(monkeypatch, "postgres", "switch", "--yes")
    assert calls.done == []
