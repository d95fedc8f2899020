"""What a preview means to do, read from the engine's own events and never from its text. Secrets are masked in them already."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from scripts.workstation import violations
from scripts.workstation.events import name_of
from scripts.workstation.parts import Kind, Part, part_of
from scripts.workstation.script_calls import Invocation, invocation
from scripts.workstation.values import is_secret, known_text

STACK = "pulumi:pulumi:Stack"
# The rule of policy/ that says what is waived.
WAIVERS = "waivers-in-force"
# How the engine marks colours in a text.
_COLOUR = re.compile(r"<\{%.*?%\}>")
_REPLACING = {"replace", "create-replacement", "delete-replaced"}
# What the provider of dynamic resources adds, or fills itself.
_NOT_SAID_BY_US = {"__provider", "differences"}


class Action(Enum):
    """What becomes of a resource."""

    MADE = "is made"
    CHANGED = "is changed"
    REPLACED = "is replaced"
    REMOVED = "is deleted"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that does not stay as it is. `old` and `new` are its inputs; `properties` those that differ."""

    name: str
    part: Part
    action: Action
    old: Mapping[str, Any] = field(default_factory=dict[str, Any])
    new: Mapping[str, Any] = field(default_factory=dict[str, Any])
    properties: frozenset[str] = frozenset()
    protected: bool = False
    # pulumi lets go of it, and it stays where it is.
    retained: bool = False

    @property
    def container(self) -> str:
        """The name of a container."""
        return str(self.new.get("name") or self.old.get("name") or self.name)

    def texts(self) -> tuple[str | None, str | None]:
        """The standard input before and after, None where it is secret, unknown or missing."""
        return (known_text(self.old.get("stdin")), known_text(self.new.get("stdin")))

    def input_changes(self) -> bool:
        """Whether the standard input differs. What a secret one holds is masked: it differs where nothing else does."""
        before, after = self.old.get("stdin"), self.new.get("stdin")
        if known_text(before) is not None and known_text(after) is not None:
            return before != after
        if not self.old or is_secret(before) != is_secret(after):
            return True
        return "stdin" in self.properties

    def calls(self) -> tuple[Invocation | None, Invocation | None]:
        """The script's call before and after, None where it is not known."""
        return (invocation(self.old), invocation(self.new))


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a refresh has found to be other than it was left."""

    name: str
    part: Part
    sentences: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A rule of the policy pack that a resource breaks."""

    policy: str
    # A sentence that names the resource.
    message: str
    mandatory: bool


@dataclass(kw_only=True)
class Plan:
    """All of one preview. `before` and `after` are the stack's outputs, `settings` its plain configuration."""

    stack: str = ""
    changes: list[Change] = field(default_factory=list[Change])
    drift: list[Drift] = field(default_factory=list[Drift])
    violations: list[Violation] = field(default_factory=list[Violation])
    # Rules of the policy pack that are waived, a sentence for each.
    waived: list[str] = field(default_factory=list[str])
    # What pulumi refuses to delete or replace, by name.
    refused: dict[str, Part] = field(default_factory=dict[str, Part])
    errors: list[str] = field(default_factory=list[str])
    before: Mapping[str, Any] = field(default_factory=dict[str, Any])
    after: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    # How it ended; None where pulumi did not get so far.
    result: str | None = None
    refreshed: bool = False

    @property
    def new_stack(self) -> bool:
        """Whether there is nothing yet."""
        return not self.before

    def of(self, *kinds: Kind) -> list[Change]:
        """The changes of some kinds, in the engine's order."""
        return [change for change in self.changes if change.part.kind in kinds]


def events_of(text: str) -> list[Mapping[str, Any]]:
    """The events of a log. A last line that was cut off is left out."""
    found: list[Mapping[str, Any]] = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def read(events: Iterable[Mapping[str, Any]], stack: str) -> Plan:
    """The plan that the events of one preview describe."""
    plan = Plan(stack=stack)
    steps: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if prelude := event.get("preludeEvent"):
            plan.settings = _settings(prelude.get("config") or {})
        elif pre := event.get("resourcePreEvent"):
            _hear(plan, steps, pre["metadata"])
        elif done := event.get("resOutputsEvent"):
            _done(plan, done["metadata"])
        elif broken := event.get("policyEvent"):
            _break(plan, broken)
        elif diagnostic := event.get("diagnosticEvent"):
            _diagnose(plan, diagnostic)
        elif summary := event.get("summaryEvent"):
            plan.result = str(summary.get("result") or "succeeded")
    if plan.result == "succeeded":
        # A plugin that ended early says so as an error, and was started again.
        plan.errors = []
    plan.changes = [change for urn, heard in steps.items() if (change := _change(urn, heard))]
    return plan


def _settings(config: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, text in config.items():
        try:
            found[key.rpartition(":")[2]] = json.loads(text)
        except json.JSONDecodeError:
            found[key.rpartition(":")[2]] = text
    return found


def _hear(plan: Plan, steps: dict[str, list[Mapping[str, Any]]], step: Mapping[str, Any]) -> None:
    if step["type"] == STACK:
        plan.before = ((step.get("old") or {}).get("outputs")) or plan.before
    elif step["op"] not in ("same", "read", "refresh"):
        steps.setdefault(step["urn"], []).append(step)


def _done(plan: Plan, step: Mapping[str, Any]) -> None:
    if step["type"] == STACK:
        plan.after = ((step.get("new") or {}).get("outputs")) or plan.after
    elif step["op"] == "refresh":
        plan.refreshed = True
        if drift := _drift(step):
            plan.drift.append(drift)


def _part(urn: str, token: str) -> Part:
    # One that the table does not know yet is named by its type and name, rather than left out.
    name = name_of(urn)
    return part_of(token, name) or Part(kind=Kind.SCRIPT, words=f"{token} {name}")


def _change(urn: str, steps: Sequence[Mapping[str, Any]]) -> Change | None:
    operations = {str(step["op"]) for step in steps}
    if operations & _REPLACING:
        action = Action.REPLACED
    elif "delete" in operations:
        action = Action.REMOVED
    elif operations & {"create", "import"}:
        action = Action.MADE
    elif "update" in operations:
        action = Action.CHANGED
    else:
        return None
    old = _last(steps, "old")
    new = _last(steps, "new") if action is not Action.REMOVED else {}
    before, after = old.get("inputs") or {}, new.get("inputs") or {}
    return Change(
        name=name_of(urn),
        part=_part(urn, str(steps[0]["type"])),
        action=action,
        old=before,
        new=after,
        properties=frozenset(_properties(steps, before, after)),
        protected=bool(old.get("protect")),
        retained=bool(old.get("retainOnDelete")),
    )


def _last(steps: Sequence[Mapping[str, Any]], side: str) -> Mapping[str, Any]:
    return next((step[side] for step in reversed(steps) if step.get(side)), {})


def _properties(
    steps: Sequence[Mapping[str, Any]], before: Mapping[str, Any], after: Mapping[str, Any]
) -> set[str]:
    """The names of the inputs that differ: as the provider says, or, where it says only that some do, by comparing."""
    said: set[str] = set()
    for step in steps:
        paths = [*(step.get("keys") or []), *(step.get("diffs") or []), *(step.get("detailedDiff") or {})]
        said |= {_first_word(path) for path in paths}
    if said or not before or not after:
        return said
    keys = (before.keys() | after.keys()) - _NOT_SAID_BY_US
    visible = {key for key in keys if before.get(key) != after.get(key)}
    return visible or {key for key in keys if is_secret(after.get(key))}


def _first_word(path: str) -> str:
    return path.replace("[", ".").partition(".")[0]


def _drift(step: Mapping[str, Any]) -> Drift | None:
    old, new = step.get("old") or {}, step.get("new") or {}
    part = _part(step["urn"], str(step["type"]))
    if not new:
        sentences = ["is gone"]
    else:
        before, after = old.get("outputs") or {}, new.get("outputs") or {}
        sentences = [str(sentence) for sentence in after.get("differences") or []]
        if not sentences and part.kind in (Kind.CONTAINER, Kind.NETWORK, Kind.CLOUD, Kind.MACHINE):
            sentences = [
                f"{key} is another one"
                for key in sorted(before.keys() | after.keys())
                if before.get(key) != after.get(key)
            ]
    if not sentences or part.kind is Kind.BOOKKEEPING:
        return None
    return Drift(name=name_of(step["urn"]), part=part, sentences=sentences)


def _break(plan: Plan, event: Mapping[str, Any]) -> None:
    said = _COLOUR.sub("", str(violations.as_diagnostic(event)["message"]))
    message = " ".join(said.split())
    if event.get("policyName") == WAIVERS:
        plan.waived.append(message)
        return
    plan.violations.append(
        Violation(
            policy=str(event.get("policyName", "")),
            message=message,
            mandatory=event.get("enforcementLevel") == "mandatory",
        )
    )


def _diagnose(plan: Plan, diagnostic: Mapping[str, Any]) -> None:
    if diagnostic.get("severity") != "error":
        return
    message = str(diagnostic.get("message", "")).strip()
    urn = str(diagnostic.get("urn") or "")
    if urn and "marked for protection" in message:
        token = urn.split("::")[2].rpartition("$")[2]
        plan.refused[name_of(urn)] = _part(urn, token)
    elif message != "preview failed":
        plan.errors.append(message)
