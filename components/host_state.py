"""Something on the host that can drift: a script brings it about, finds what differs, and repairs it.

pulumi-command reads nothing back, so a refresh would never find a change by hand (docs/decisions/0014-host-state.md). The
engine runs the provider below in a process of its own, which imports this module by its name: a stack's state knows it by
`components.host_state`.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pulumi
from pulumi import dynamic

# What ssh and docker need, and no more: the engine's environment holds the way to the stack's secrets.
PASSED_ON = ("PATH", "HOME", "SSH_AUTH_SOCK")
# Far more than any takes.
PATIENCE_SECONDS = 900
# With which ssh ends when it is not the script that has failed (ssh(1), EXIT STATUS).
SSH_FAILURE = 255
# What a host command is made from; a change of any of them brings it about again.
INPUTS = ("words", "stdin", "triggers")
# Stands in `words` for what the script shall do: `apply` or `check`. The state holds a script's text once, not once for each.
ACTION = "%ACTION%"


class ScriptFailed(Exception):
    """What a script has printed on standard error, its reason last."""


class HostUnreachable(ScriptFailed):
    """What ssh has said of its own failure: no script has run."""


class _HostStateProvider(dynamic.ResourceProvider):
    """`words` are started with `apply` and with `check`; both read `stdin`, and `check` prints a line for each difference."""

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        return dynamic.CreateResult("host-state", _applied(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.UpdateResult:
        return dynamic.UpdateResult(_applied(_news))

    def read(self, id_: str, props: dict[str, Any]) -> dynamic.ReadResult:
        # What an earlier version of this program has made is brought about again by the next `up`.
        found = _differences(props) if "words" in props else []
        return dynamic.ReadResult(id_, {**props, "differences": found})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        changed = any(_olds.get(name) != _news.get(name) for name in INPUTS)
        return dynamic.DiffResult(changes=changed or bool(_olds.get("differences")))


def _applied(props: Mapping[str, Any]) -> dict[str, Any]:
    _run("apply", props)
    if left := _differences(props):
        _fail(
            ScriptFailed,
            f"after it was put in order, this still differs: {'; '.join(left)}; something else changes it meanwhile, run up again",
        )
    return {**{name: props.get(name) for name in INPUTS}, "differences": []}


def _differences(props: Mapping[str, Any]) -> list[str]:
    return _run("check", props).splitlines()


def _run(action: str, props: Mapping[str, Any]) -> str:
    words = [word.replace(ACTION, action) for word in props["words"]]
    try:
        ran = subprocess.run(
            words,
            input=props.get("stdin") or "",
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        _fail(
            ScriptFailed,
            f"a script on the host was not done within {PATIENCE_SECONDS} s; see what it waits for (docker ps, a long query in PostgreSQL), then run up again",
        )
    if ran.returncode:
        unreachable = words[0] == "ssh" and ran.returncode == SSH_FAILURE
        kind = HostUnreachable if unreachable else ScriptFailed
        _fail(
            kind,
            ran.stderr.strip() or f"a script on the host ended with {ran.returncode} and printed nothing",
        )
    return ran.stdout


def _fail(kind: type[ScriptFailed], sentence: str) -> NoReturn:
    # The engine shows what the provider raises with its trace, which here would hide the sentence.
    sys.tracebacklimit = 0
    raise kind(sentence) from None


class HostState(dynamic.Resource, module="host", name="State"):
    """Made, changed and repaired by `up`; `differences` is filled by a refresh, and what it finds is repaired by the next `up`.

    Nothing is done on a delete: what a script has made outlives its resource. A secret `stdin` stays one in the state.
    """

    differences: pulumi.Output[list[str]]

    def __init__(
        self,
        name: str,
        *,
        words: pulumi.Output[list[str]],
        stdin: pulumi.Input[str] = "",
        triggers: Sequence[pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            _HostStateProvider(),
            name,
            {
                "words": words,
                "stdin": stdin,
                "triggers": list(triggers),
                # Filled by the provider.
                "differences": None,
            },
            opts,
        )
