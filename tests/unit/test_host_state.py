"""What is kept in order on the host: real scripts, run as the engine runs them."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi import dynamic

from components import host_state
from components.host_state import ACTION, INPUTS, PASSED_ON, HostUnreachable, ScriptFailed

CANARY = "canary-host-state-5d1f"

# A state is a file's text. It fails with a sentence where a test has said one.
SCRIPT = """\
#!/bin/sh
set -eu
folder=$2
wanted=$(cat)
echo "$1" >>"$folder/asked"
tr '\\0' '\\n' <"/proc/$$/cmdline" >>"$folder/cmdline"
env >>"$folder/environment"
if [ -f "$folder/fails-$1" ]; then
  echo "noise on the way"
  cat "$folder/fails-$1" >&2
  exit 3
fi
case $1 in
  apply) [ -f "$folder/stubborn" ] || printf '%s' "$wanted" >"$folder/state" ;;
  check) [ "$(cat "$folder/state" 2>/dev/null)" = "$wanted" ] || printf '%s\\n' "the state is another" "and so on" ;;
esac
"""


@pytest.fixture(autouse=True)
def whole_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure changes what the process shows of a trace, which is the engine's own process otherwise."""
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)


@pytest.fixture
def provider() -> dynamic.ResourceProvider:
    return host_state._HostStateProvider()


@pytest.fixture
def props(tmp_path: Path) -> dict[str, Any]:
    """Inputs with a secret on standard input."""
    script = tmp_path / 'a script\'s "file".sh'
    script.write_text(SCRIPT, encoding="utf-8")
    words = ["sh", str(script), ACTION, str(tmp_path)]
    return {"words": words, "stdin": CANARY, "triggers": ["one"]}


def asked(tmp_path: Path) -> list[str]:
    return (tmp_path / "asked").read_text(encoding="utf-8").split()


# --- what is done ---


def test_a_create_brings_it_about_and_looks_at_it(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    made = provider.create(props)
    assert asked(tmp_path) == ["apply", "check"]
    assert (tmp_path / "state").read_text(encoding="utf-8") == CANARY
    assert made.outs == {**props, "differences": []}
    assert made.id


def test_an_update_brings_the_new_state_about(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    made = provider.create(props)
    news = {**props, "stdin": "another"}
    assert provider.update(made.id or "", made.outs or {}, news).outs == {**news, "differences": []}
    assert (tmp_path / "state").read_text(encoding="utf-8") == "another"


def test_what_is_found_by_a_refresh_is_what_the_next_run_repairs(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    made = provider.create(props)
    (tmp_path / "state").write_text("edited by hand", encoding="utf-8")
    found = provider.read("host-state", made.outs or {})
    assert found.id == "host-state"
    assert found.outs == {**props, "differences": ["the state is another", "and so on"]}
    # A refresh looks, and changes nothing.
    assert (tmp_path / "state").read_text(encoding="utf-8") == "edited by hand"
    assert asked(tmp_path)[2:] == ["check"]
    assert provider.diff("host-state", found.outs or {}, props).changes is True
    repaired = provider.update("host-state", found.outs or {}, props)
    assert repaired.outs == {**props, "differences": []}
    assert provider.diff("host-state", repaired.outs or {}, props).changes is False


def test_a_refresh_that_finds_nothing_changes_nothing(
    provider: dynamic.ResourceProvider, props: dict[str, Any]
) -> None:
    made = provider.create(props)
    found = provider.read("host-state", made.outs or {})
    assert found.outs == made.outs
    assert provider.diff("host-state", found.outs or {}, props).changes is False


def test_what_an_earlier_version_has_made_is_brought_about_again(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    """A refresh before that has no words to look by."""
    olds = {"apply": ["false"], "check": ["false"], "stdin": CANARY, "triggers": ["one"], "differences": []}
    assert provider.read("host-state", olds).outs == olds
    assert provider.diff("host-state", olds, props).changes is True
    assert provider.update("host-state", olds, props).outs == {**props, "differences": []}
    assert asked(tmp_path) == ["apply", "check"]


@pytest.mark.parametrize("name", INPUTS)
def test_a_change_of_any_input_brings_it_about_again_in_place(
    provider: dynamic.ResourceProvider, props: dict[str, Any], name: str
) -> None:
    olds = {**props, "differences": []}
    difference = provider.diff("host-state", olds, {**props, name: ["something else"]})
    assert difference.changes is True
    # Replaced, it would be deleted, and another one made.
    assert not difference.replaces


def test_a_delete_does_nothing(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    made = provider.create(props)
    provider.delete("host-state", made.outs or {})
    assert asked(tmp_path) == ["apply", "check"]
    assert (tmp_path / "state").exists()


def test_without_standard_input_a_script_reads_nothing(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    provider.create({**props, "stdin": ""})
    assert (tmp_path / "state").read_text(encoding="utf-8") == ""


def test_a_script_need_not_read_what_it_is_given(provider: dynamic.ResourceProvider) -> None:
    much = {"words": ["true"], "stdin": "x" * 1_000_000, "triggers": []}
    assert (provider.create(much).outs or {})["differences"] == []


# --- secrets ---


def test_a_secret_is_neither_a_word_nor_in_the_environment_nor_in_what_is_found(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    made = provider.create(props)
    (tmp_path / "state").unlink()
    found = provider.read("host-state", made.outs or {})
    for noted in ("cmdline", "environment"):
        assert CANARY not in (tmp_path / noted).read_text(encoding="utf-8"), noted
    assert CANARY not in str((found.outs or {})["differences"])


def test_a_script_gets_nothing_of_the_engine_s_environment(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG", "AWS_SECRET_ACCESS_KEY", "DOCKER_HOST"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    monkeypatch.setenv("HOME", "/home/operator")
    provider.create({**props, "stdin": "x"})
    lines = (tmp_path / "environment").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines)
    # The shell sets the second line's itself.
    assert found.keys() - {"PWD", "OLDPWD", "SHLVL", "_"} == set(PASSED_ON)
    assert {name: found[name] for name in PASSED_ON} == {
        "PATH": os.environ["PATH"],
        "HOME": "/home/operator",
        "SSH_AUTH_SOCK": "/run/agent",
    }


def test_what_is_not_set_is_not_handed_on(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    provider.create(props)
    assert "SSH_AUTH_SOCK" not in (tmp_path / "environment").read_text(encoding="utf-8")


# --- failures ---


def shown(kind: type[Exception], failing: Callable[[], object]) -> str:
    """What the engine shows of a failure."""
    with pytest.raises(kind) as caught:
        failing()
    assert type(caught.value) is kind
    (line,) = "".join(traceback.format_exception(caught.value)).splitlines()
    return line.removeprefix(f"components.host_state.{kind.__name__}: ")


@pytest.mark.parametrize("action", ["apply", "check"])
def test_a_failure_is_the_script_s_own_sentence_and_no_more(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path, action: str
) -> None:
    (tmp_path / f"fails-{action}").write_text("it cannot be; do this instead\n", encoding="utf-8")
    assert shown(ScriptFailed, lambda: provider.create(props)) == "it cannot be; do this instead"


def test_a_failure_of_a_refresh_is_one_too(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "fails-check").write_text("it cannot be looked at\n", encoding="utf-8")
    assert shown(ScriptFailed, lambda: provider.read("host-state", props)) == "it cannot be looked at"


def test_a_failed_apply_is_not_looked_at(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "fails-apply").write_text("no\n", encoding="utf-8")
    shown(ScriptFailed, lambda: provider.update("host-state", props, props))
    assert asked(tmp_path) == ["apply"]


def test_a_script_that_says_nothing_is_said_to_have_failed(provider: dynamic.ResourceProvider) -> None:
    props = {"words": ["sh", "-c", "exit 7"], "stdin": "", "triggers": []}
    assert shown(ScriptFailed, lambda: provider.create(props)) == (
        "a script on the host ended with 7 and printed nothing"
    )


def test_what_still_differs_after_it_was_put_in_order_is_a_failure(
    provider: dynamic.ResourceProvider, props: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "stubborn").touch()
    assert shown(ScriptFailed, lambda: provider.create(props)) == (
        "after it was put in order, this still differs: the state is another; and so on; "
        "something else changes it meanwhile, run up again"
    )


def test_a_script_that_never_ends_is_given_up(
    provider: dynamic.ResourceProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_state, "PATIENCE_SECONDS", 0.1)
    props = {"words": ["sleep", "20"], "stdin": "", "triggers": []}
    assert shown(ScriptFailed, lambda: provider.create(props)).startswith(
        "a script on the host was not done within 0.1 s; "
    )


@pytest.mark.parametrize(
    ("code", "kind"), [(255, HostUnreachable), (1, ScriptFailed)], ids=["ssh itself", "a script"]
)
def test_a_host_that_does_not_answer_is_told_from_a_script_that_fails(
    provider: dynamic.ResourceProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[Exception],
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho 'ssh: no route to host' >&2\nexit {code}\n", encoding="utf-8")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    props = {"words": ["ssh", "db"], "stdin": "", "triggers": []}
    assert shown(kind, lambda: provider.create(props)) == "ssh: no route to host"


def test_a_script_s_own_255_is_no_host_that_does_not_answer(provider: dynamic.ResourceProvider) -> None:
    props = {"words": ["sh", "-c", "echo no >&2; exit 255"], "stdin": "", "triggers": []}
    assert shown(ScriptFailed, lambda: provider.create(props)) == "no"
