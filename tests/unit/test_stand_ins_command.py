"""The command stand-in: when it runs what, what stays secret, how it ends."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckRequest,
    CreateRequest,
    DeleteRequest,
    DiffRequest,
    DiffResponse,
    InvokeRequest,
    UpdateRequest,
)

from sandbox.providers.stand_ins.command.provider import CommandProvider
from sandbox.providers.stand_ins.errors import ProviderError
from sandbox.providers.stand_ins.values import UNKNOWN, plain_map, property_map

URN = "urn:pulumi:dev::probe::command:local:Command::c"


class Lines:
    """Collects what would go to the engine's display."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def status(self, urn: str, message: str) -> None:
        assert urn == URN
        self.seen.append(message)


def provider(lines: Lines | None = None) -> CommandProvider:
    return CommandProvider(lines or Lines())  # pyright: ignore


def create(
    inputs: dict[str, Any], lines: Lines | None = None, preview: bool = False
) -> dict[str, PropertyValue]:
    request = CreateRequest(URN, property_map(inputs), 0, preview=preview)
    return asyncio.run(provider(lines).create(request)).properties


def diff(old: dict[str, Any], new: dict[str, Any]) -> DiffResponse:
    return asyncio.run(provider().diff(DiffRequest(URN, "c1", property_map(old), property_map(new), [])))


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"triggers": ["2"]}, True),
        ({"triggers": ["2"], "update": "u"}, False),
        ({"create": "other"}, False),
        ({"stdin": "x"}, False),
        ({"delete": "x"}, False),
        ({"environment": {"A": "1"}}, False),
    ],
)
def test_triggers_replace_only_without_an_update_command(change: dict[str, Any], replaced: bool) -> None:
    old = {"create": "c", "triggers": ["1"], "stdout": "s", "stderr": ""}
    found = diff(old, {"create": "c", "triggers": ["1"]} | change)
    assert found.changes
    assert found.replaces == (["triggers"] if replaced else [])


def test_outputs_are_no_difference() -> None:
    assert not diff({"create": "c", "stdout": "a", "stderr": "b"}, {"create": "c"}).changes


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"craete": "x"}, "c.craete"),
        ({"create": 1}, "c.create"),
        ({"environment": {"A": 1}}, 'c.environment["A"]'),
        ({"interpreter": "sh"}, "c.interpreter"),
        ({"logging": "loud"}, "c.logging"),
        ({"assetPaths": ["*"]}, "assetPaths"),
    ],
)
def test_an_input_that_the_schema_does_not_have_is_refused(change: dict[str, Any], place: str) -> None:
    request = CheckRequest(URN, {}, property_map({"create": "true"} | change), b"")
    failures = asyncio.run(provider().check(request)).failures or []
    assert any(place in failure.reason for failure in failures)


def test_triggers_take_any_type() -> None:
    request = CheckRequest(URN, {}, property_map({"triggers": [1, "a", {"b": [True]}, UNKNOWN]}), b"")
    assert not asyncio.run(provider().check(request)).failures


def test_outputs_lose_one_line_break_and_lines_are_logged() -> None:
    lines = Lines()
    outputs = plain_map(create({"create": "cat; printf 'e\\n' >&2", "stdin": "a\nb\n\n"}, lines))
    assert (outputs["stdout"], outputs["stderr"]) == ("a\nb\n", "e")
    assert sorted(lines.seen) == ["", "a", "b", "e"]


@pytest.mark.parametrize(
    ("logging", "seen"), [("none", []), ("stdout", ["o"]), ("stderr", ["e"]), ("stdoutAndStderr", ["e", "o"])]
)
def test_logging_is_honoured(logging: str, seen: list[str]) -> None:
    lines = Lines()
    create({"create": "echo o; echo e >&2", "logging": logging}, lines)
    assert sorted(lines.seen) == seen


def test_one_secret_input_makes_the_outputs_secret() -> None:
    properties = property_map({"create": "cat"}) | {"stdin": PropertyValue("s", is_secret=True)}
    outputs = asyncio.run(provider().create(CreateRequest(URN, properties, 0, preview=False))).properties
    assert all(outputs[name].is_secret for name in ("stdin", "stdout", "stderr"))
    assert not outputs["create"].is_secret


def test_a_preview_runs_nothing(tmp_path: Path) -> None:
    outputs = plain_map(create({"create": f"touch {tmp_path}/made"}, preview=True))
    assert outputs["stdout"] == outputs["stderr"] == UNKNOWN
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("commands", "ran"), [({"update": "echo u"}, "u"), ({}, "c")])
def test_an_update_runs_update_or_else_create(commands: dict[str, str], ran: str) -> None:
    inputs = property_map({"create": "echo c"} | commands)
    request = UpdateRequest(URN, "c1", inputs, inputs, 0, [], preview=False)
    assert plain_map(asyncio.run(provider().update(request)).properties)["stdout"] == ran


@pytest.mark.parametrize(("added", "expected"), [(True, "old"), (False, "")])
def test_delete_gets_the_last_output_unless_told_otherwise(
    tmp_path: Path, added: bool, expected: str
) -> None:
    command = f'printf %s "$PULUMI_COMMAND_STDOUT" > {tmp_path}/seen'
    state = {"delete": command, "stdout": "old", "stderr": "", "addPreviousOutputInEnv": added}
    asyncio.run(provider().delete(DeleteRequest(URN, "c1", property_map(state), 0)))
    assert (tmp_path / "seen").read_text() == expected


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"create": "echo out; echo err >&2; exit 3"},
            'exit status 3: running "echo out; echo err >&2; exit 3":\nout\nerr\n',
        ),
        (
            {"create": "x", "interpreter": ["/no/such"]},
            'fork/exec /no/such: no such file or directory: running "x":\n',
        ),
        ({"create": "x", "dir": "/no/such"}, 'chdir /no/such: no such file or directory: running "x":\n'),
    ],
)
def test_a_failure_says_how_it_ended_and_what_was_written(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ProviderError) as failed:
        create(inputs)
    assert sorted(str(failed.value).splitlines()) == sorted(message.splitlines())


def test_cancel_ends_a_command_with_its_children(tmp_path: Path) -> None:
    async def scenario() -> None:
        stand_in = provider()
        command = f"(touch {tmp_path}/up; sleep 30; touch {tmp_path}/late); true"
        properties = property_map({"create": command})
        running = asyncio.ensure_future(stand_in.create(CreateRequest(URN, properties, 0, preview=False)))
        while not (tmp_path / "up").exists():
            await asyncio.sleep(0.01)
        await stand_in.cancel()
        await running

    started = time.monotonic()
    with pytest.raises(ProviderError, match="signal: killed"):
        asyncio.run(scenario())
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("turns", range(6))
def test_cancel_ends_a_command_that_is_just_being_started(turns: int) -> None:
    async def scenario() -> None:
        stand_in = provider()
        properties = property_map({"create": "exec sleep 30"})
        running = asyncio.ensure_future(stand_in.create(CreateRequest(URN, properties, 0, preview=False)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await stand_in.cancel()
        await running

    started = time.monotonic()
    with pytest.raises(ProviderError, match=r"signal: killed|context canceled"):
        asyncio.run(scenario())
    assert time.monotonic() - started < 20


def test_the_function_runs_at_once_and_refuses_what_only_the_resource_has() -> None:
    class Silent(Lines):
        async def status(self, urn: str, message: str) -> None:  # noqa: ARG002
            self.seen.append(message)

    def invoke(arguments: dict[str, Any]) -> Any:
        request = InvokeRequest("command:local:run", property_map(arguments))
        return asyncio.run(provider(Silent()).invoke(request))

    assert plain_map(invoke({"command": "echo $A", "environment": {"A": "1"}}).return_value)["stdout"] == "1"
    assert "triggers" in invoke({"command": "true", "triggers": []}).failures[0].reason
    assert "command" in invoke({}).failures[0].reason


def test_remote_commands_are_refused() -> None:
    request = CheckRequest(URN.replace("local", "remote"), {}, {}, b"")
    with pytest.raises(ProviderError, match="not part of this stand-in"):
        asyncio.run(provider().check(request))
