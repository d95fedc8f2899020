"""pulumi's engine events (`--json`), as short lines for a person."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from scripts.workstation import ssh, violations
from scripts.workstation.progress import duration
from scripts.workstation.restarts import Stopwatch

WAITING_SECONDS = 20.0
LAST_WORDS = 3
_DONE = {
    "create": "created",
    "create-replacement": "created anew",
    "delete": "deleted",
    "delete-replaced": "removed the old",
    "discard": "let go",
    "import": "imported",
    "read": "read",
    "update": "changed",
}
# The engine's own book-keeping: steps without work behind them.
_SILENT = {"same", "refresh", "replace", "read-replacement", "discard-replaced", "remove-pending-replace"}
# `exit status 1: running "<the command, as Go quotes it>":`, then what it printed on both of its outputs.
_FAILED_COMMAND = re.compile(
    r"(?P<ending>[^\n:]*): running +\"(?P<program>[^ \"]*)(?:[^\"\\]|\\.)*\":\n?(?P<output>.*)", re.DOTALL
)
# How the engine shows what a dynamic resource's provider raises: the exception's module and name before its text.
_RAISED = re.compile(r"(?:[a-z_]\w*\.)+(?P<kind>[A-Z]\w*): +(?P<said>.*)", re.DOTALL)
_WRAPPING = re.compile(
    r"\s*(?:[a-z]+ing urn:\S+: )?(?:\d+ errors? occurred:\s*)?\*\s+|\s*[a-z]+ing urn:\S+: "
)
# The component of one application, by the name that the program gives it.
_APPLICATION = "central-data-platform:components:Application"
_APPLICATION_NAME = "platform-application-"
# Said after the error that matters, once more in other words.
_CONSEQUENCES = ("an unhandled error occurred: program exited", "update failed", "preview failed")


def kind_of(token: str) -> str:
    """`Container` of `docker:index/container:Container`."""
    return token.rpartition(":")[2].rpartition("/")[2]


def name_of(urn: str) -> str:
    """The resource's own name."""
    return urn.rpartition("::")[2]


def without_wrapping(message: str) -> str:
    """The fault itself, without "deleting urn:…: 1 error occurred:" before it, once or twice."""
    while (found := _WRAPPING.match(message)) is not None:
        message = message[found.end() :]
    return message.strip()


def without_script(message: str, stack: str) -> str:
    """What a failed command or script has printed, without what the plugin that ran it puts before it."""
    if raised := _RAISED.fullmatch(message):
        if raised["kind"] == "HostUnreachable":
            return ssh.fault(raised["said"], stack)
        return _last_words(raised["said"])
    found = _FAILED_COMMAND.search(message)
    if found is None:
        return message
    ending, output = found["ending"].strip(), found["output"].strip()
    if found["program"] == "ssh" and ending.endswith(f" {ssh.OWN_FAILURE}"):
        return ssh.fault(output, stack)
    return _last_words(output) or f"a command ended with {ending} and printed nothing"


def _last_words(output: str) -> str:
    # Before its last words a script may have shown what the tools in it print.
    lines = [line.strip() for line in output.splitlines() if line.strip()][-LAST_WORDS:]
    return "\n       ".join(lines)


def kept_application(step: Mapping[str, Any], stack: str) -> str | None:
    """What became of an application whose component an `up` has deleted."""
    name = name_of(step["urn"])
    if step["op"] != "delete" or step["type"] != _APPLICATION or not name.startswith(_APPLICATION_NAME):
        return None
    application = name.removeprefix(_APPLICATION_NAME)
    suffix = "" if stack == "local" else f" STACK={stack}"
    return (
        f"application {application} is no longer in the settings: its access is closed, its data is kept; "
        f"delete for good: make drop-application NAME={application}{suffix}"
    )


class Narrator:
    """Turns events into lines: what is done, what failed, what is being waited for."""

    def __init__(
        self,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        stack: str = "local",
        removing_all: bool = False,
    ) -> None:
        self._say = say
        self._removing_all = removing_all
        self._stack = stack
        self._clock = clock
        self._under_way: dict[str, tuple[str, float]] = {}
        self._last_word = clock()
        self._said: set[str] = set()
        self.errors: list[str] = []
        self.changes: dict[str, int] = {}
        # How long each replaced container was away.
        self.away = Stopwatch()

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event."""
        self.away.hear(event, self._clock())
        if pre := event.get("resourcePreEvent"):
            self._begin(pre["metadata"])
        elif done := event.get("resOutputsEvent"):
            self._done(done["metadata"])
        elif failed := event.get("resOpFailedEvent"):
            self._failed(failed["metadata"])
        elif diagnostic := event.get("diagnosticEvent"):
            self._diagnose(diagnostic)
        elif violation := event.get("policyEvent"):
            self._diagnose(violations.as_diagnostic(violation))
        elif summary := event.get("summaryEvent"):
            self.changes = dict(summary.get("resourceChanges") or {})

    def tick(self) -> None:
        """Say what is waited for, when nothing was said for long."""
        if self._under_way and self._clock() - self._last_word >= WAITING_SECONDS:
            text, began = next(iter(self._under_way.values()))
            more = f" and {len(self._under_way) - 1} more" if len(self._under_way) > 1 else ""
            self._speak(f"… waiting for {text}{more} ({duration(self._clock() - began)})")

    def _begin(self, step: Mapping[str, Any]) -> None:
        if self._shown(step):
            self._under_way[step["urn"]] = (self._text(step), self._clock())

    def _done(self, step: Mapping[str, Any]) -> None:
        text, began = self._under_way.pop(step["urn"], ("", 0.0))
        if text:
            self._speak(f"{_DONE.get(step['op'], step['op'])} {text} ({duration(self._clock() - began)})")
        if not self._removing_all and (kept := kept_application(step, self._stack)):
            self._speak(kept)

    def _failed(self, step: Mapping[str, Any]) -> None:
        self._under_way.pop(step["urn"], None)
        self._speak(f"FAILED {self._text(step)}")

    def _diagnose(self, diagnostic: Mapping[str, Any]) -> None:
        severity = diagnostic.get("severity")
        message = str(diagnostic.get("message", "")).strip()
        if severity not in ("warning", "error") or not message or message in self._said:
            return
        if severity == "error" and message.startswith(_CONSEQUENCES):
            return
        self._said.add(message)
        if severity == "error":
            message = without_script(without_wrapping(message), self._stack)
        about = f"{name_of(diagnostic['urn'])}: " if diagnostic.get("urn") else ""
        if severity == "error":
            self.errors.append(about + message)
        else:
            self._speak(f"warning: {about}{message}")

    @staticmethod
    def _shown(step: Mapping[str, Any]) -> bool:
        # Components and providers are book-keeping; what a person waits for is custom and of a provider.
        custom = bool((step.get("new") or step.get("old") or {}).get("custom"))
        return custom and step["op"] not in _SILENT and not str(step["type"]).startswith("pulumi:")

    @staticmethod
    def _text(step: Mapping[str, Any]) -> str:
        return f"{kind_of(step['type'])} {name_of(step['urn'])}"

    def _speak(self, text: str) -> None:
        self._last_word = self._clock()
        self._say(text)


def summary(changes: Mapping[str, int]) -> str:
    """`nothing to change`, or `4 created, 1 changed`."""
    parts = [
        f"{count} {_DONE[op]}" for op, count in changes.items() if count and op in _DONE and op != "read"
    ]
    parts += [f"{changes['replace']} replaced"] if changes.get("replace") else []
    return ", ".join(parts) or f"nothing to change in {changes.get('same', 0)} resources"
