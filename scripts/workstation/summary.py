"""A preview in plain words: what restarts and for how long, what becomes of data, applications, files and the machine."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.workstation import restarts
from scripts.workstation.file_lists import changed_files
from scripts.workstation.parts import SERVICES, Kind, Part
from scripts.workstation.plan import Action, Change, Plan
from scripts.workstation.reasons import container_reasons, details
from scripts.workstation.restarts import Expected

NOTHING = "Nothing changes."
_KEPT = "Nothing that holds data is deleted or replaced."
# The arguments of application.sh behind its name and `apply`: those that a person knows by a name, then the extensions.
_ACCOUNT = {1: "database", 2: "login", 6: "connections", 7: "weak password allowed"}
_EXTENSIONS = 8
# So many names in one line; more are counted.
_NAMES = 6


@dataclass(frozen=True, kw_only=True)
class Section:
    """A title and its lines. A loud one is about what is refused or lost."""

    title: str
    lines: Sequence[str]
    loud: bool = False


@dataclass(frozen=True, kw_only=True)
class Summary:
    """`headline` says it all where nothing changes; there are no sections then."""

    headline: str
    sections: Sequence[Section] = field(default_factory=list[Section])


def summarize(plan: Plan, expected: Callable[[str], Expected | None]) -> Summary:
    """`expected` gives the seconds that a container's replacement takes."""
    waivers = list(_waivers(plan))
    matters = [change for change in plan.changes if change.part.kind is not Kind.BOOKKEEPING]
    if plan.result == "succeeded" and not (matters or plan.drift or plan.violations or plan.errors):
        looked = " The host is as it was left." if plan.refreshed else ""
        until = f" Waivers in force: {'; '.join(waivers)}." if waivers else ""
        return Summary(headline=f"{NOTHING}{looked}{until}")
    if plan.result is None:
        return Summary(headline=_headline(plan), sections=_sections((("REFUSED", _refused(plan), True),)))
    parts = (
        ("REFUSED", _refused(plan), True),
        ("DATA", _lost(plan), True),
        ("Containers", _containers(plan), False),
        ("Without service", _seconds(plan, expected), False),
        ("Data", _kept(plan), False),
        ("Applications", _applications(plan), False),
        ("Passwords of the platform", _passwords(plan), False),
        ("Machine and cloud", _cloud(plan), False),
        ("Files on the host", _files(plan), False),
        ("Reloaded, without a restart", _reloads(plan), False),
        ("Scripts that run on the host", _scripts(plan), False),
        ("Found to be other than it was left, and put right", _drift(plan), False),
        ("Advice of the policy pack", _advice(plan), False),
        ("Waivers in force", iter(waivers), False),
    )
    return Summary(headline=_headline(plan), sections=_sections(parts))


def _sections(parts: Iterable[tuple[str, Iterator[str], bool]]) -> list[Section]:
    return [
        Section(title=title, lines=found, loud=loud) for title, lines, loud in parts if (found := list(lines))
    ]


def _headline(plan: Plan) -> str:
    if plan.result != "succeeded":
        return f"The preview of stack {plan.stack} failed: up would stop there."
    if any(violation.mandatory for violation in plan.violations):
        return f"The policy refuses this for stack {plan.stack}: up would change nothing."
    if plan.new_stack:
        return f"Stack {plan.stack} is new: all of it is made."
    return f"What up will do to stack {plan.stack}:"


def _refused(plan: Plan) -> Iterator[str]:
    for violation in plan.violations:
        if violation.mandatory:
            yield f"policy {violation.policy}: {violation.message}"
    for part in plan.refused.values():
        yield f"{part.words} would have to be deleted or replaced, and is protected"
    for error in plan.errors:
        # The first line is the reason; a trace may follow.
        yield error.splitlines()[0]


def _lost(plan: Plan) -> Iterator[str]:
    """What holds data, or carries what does, and does not stay."""
    for change in plan.changes:
        part = change.part
        if part.lost is None or change.action not in (Action.REMOVED, Action.REPLACED):
            continue
        if change.name in plan.refused:
            continue
        verb = "is DELETED" if change.action is Action.REMOVED else "is REPLACED"
        if change.retained:
            yield f"{part.words} {verb} in the state only: OCI keeps it, and pulumi no longer knows it"
        else:
            yield f"{part.words} {verb}: {part.lost}"


def _kept(plan: Plan) -> Iterator[str]:
    if plan.new_stack or plan.refused or any(_lost(plan)):
        return
    closed = [
        str(known["database"]) for change in _closed(plan) if (known := _application(plan.before, change))
    ]
    kept = f" Kept, with its access closed: database {', '.join(closed)}." if closed else ""
    yield f"{_KEPT}{kept}"


def _closed(plan: Plan) -> list[Change]:
    return [c for c in plan.of(Kind.APPLICATION) if c.action is Action.REMOVED]


# --- containers ---


def _containers(plan: Plan) -> Iterator[str]:
    words = {
        Action.MADE: "is made" if plan.new_stack else "is made again",
        Action.CHANGED: "is changed while it runs",
        Action.REPLACED: "restarts",
        Action.REMOVED: "is removed",
    }
    for change in _in_order(plan.of(Kind.CONTAINER)):
        reasons = container_reasons(plan, change)
        because = f": {', '.join(reasons)}" if reasons else ""
        # What monitoring makes was not there before.
        new = change.action is Action.MADE and change.part.service is None
        yield f"{change.container} {'is made' if new else words[change.action]}{because}"


def _in_order(changes: Sequence[Change]) -> list[Change]:
    order = {name: place for place, name in enumerate(SERVICES)}
    return sorted(changes, key=lambda change: order.get(change.container, len(order)))


def _seconds(plan: Plan, expected: Callable[[str], Expected | None]) -> Iterator[str]:
    if plan.new_stack:
        return
    if _machine_restarts(plan):
        yield f"everything: the machine restarts, {restarts.MACHINE}"
    away = {
        change.container: change.action
        for change in plan.of(Kind.CONTAINER)
        if change.action is not Action.CHANGED
    }
    if not away:
        return
    held = bool(plan.of(Kind.HOLD))
    for container, service in SERVICES.items():
        if container == "postgres-wal":
            continue
        action = away.get(container)
        if action is Action.REMOVED:
            yield f"{service}: away, for good"
        elif action is Action.MADE:
            yield f"{service}: away now, and back with this"
        elif action is Action.REPLACED:
            figure = expected(container)
            yield (
                f"{service}: about {figure.seconds:.0f} s ({figure.source})"
                if figure
                else f"{service}: some seconds"
            )
        elif container == "pgbouncer" and "postgres-db" in away:
            yield (
                f"{service}: stays up; its clients wait for PostgreSQL meanwhile"
                if held
                else f"{service}: stays up, and has no PostgreSQL behind it meanwhile"
            )
        else:
            yield f"{service}: 0 s"


def _machine_restarts(plan: Plan) -> bool:
    resized = {"shape", "shapeConfig"}
    return any(c.action is Action.CHANGED and c.properties & resized for c in plan.of(Kind.MACHINE))


# --- applications and passwords ---


def _application(outputs: Mapping[str, Any], change: Change) -> Mapping[str, Any] | None:
    return (outputs.get("applications") or {}).get(change.part.application)


def _applications(plan: Plan) -> Iterator[str]:
    suffix = "" if plan.stack == "local" else f" STACK={plan.stack}"
    whole = {change.part.application: change for change in plan.of(Kind.APPLICATION)}
    for name, change in whole.items():
        if change.action is Action.MADE:
            known = _application(plan.after, change) or {}
            with_redis = f", Redis keys {known['redisKeyPrefix']}*" if known.get("redisKeyPrefix") else ""
            yield (
                f"{name} is added: database {known.get('database', '?')}, login {known.get('user', '?')}{with_redis}; its passwords are those "
                "of the stack's configuration"
            )
        elif change.action is Action.REMOVED:
            known = _application(plan.before, change) or {}
            yield (
                f"{name} is closed: no access any more, open connections end; database {known.get('database', '?')} and its keys are kept "
                f"(delete for good: make drop-application NAME={name}{suffix})"
            )
    parts: dict[str, list[str]] = {}
    for change in plan.of(Kind.ACCOUNT, Kind.CONNECTION):
        name = change.part.application or change.name
        if name in whole:
            continue
        said = _account(change) if change.part.kind is Kind.ACCOUNT else _connection(plan, change)
        parts.setdefault(name, []).extend(said)
    for name, said in parts.items():
        if said:
            yield f"{name} is changed: {', '.join(said)}"


def _account(change: Change) -> list[str]:
    before, after = change.calls()
    if not before or not after:
        return ["its account is set again"]
    # Behind the script's name and `apply`.
    old, new = before.arguments[2:], after.arguments[2:]
    said = [
        f"{word} {old[place]} -> {new[place]}"
        for place, word in _ACCOUNT.items()
        if place < min(len(old), len(new)) and old[place] != new[place]
    ]
    if old[_EXTENSIONS:] != new[_EXTENSIONS:]:
        said.append(f"extensions {' '.join(new[_EXTENSIONS:]) or 'none'}")
    return said


def _connection(plan: Plan, change: Change) -> list[str]:
    if not change.input_changes():
        return []
    if not any(c.name == "platform-secrets-file" and c.input_changes() for c in plan.of(Kind.FILES)):
        return ["server.env and its other files are written again, its passwords stay"]
    if _explained(plan, change):
        return ["server.env and its other files are written again, perhaps with new passwords"]
    return ["its PASSWORDS change, and server.env with them"]


def _explained(plan: Plan, change: Change) -> bool:
    """Whether an application's files change for another reason than its passwords."""
    common = ("postgresAddress", "pgbouncerAddress", "redisAddress", "caCertificate")
    if any(plan.before.get(key) != plan.after.get(key) for key in common):
        return True
    return _application(plan.before, change) != _application(plan.after, change)


def _passwords(plan: Plan) -> Iterator[str]:
    for change in plan.of(Kind.PASSWORD):
        if change.action is Action.CHANGED and change.input_changes():
            yield f"the password of {change.part.words} changes; nothing restarts"


# --- machine and cloud ---


def _cloud(plan: Plan) -> Iterator[str]:
    changes = plan.of(Kind.MACHINE, Kind.CLOUD, Kind.NETWORK)
    made = [change for change in changes if change.action is Action.MADE]
    if plan.new_stack:
        if made:
            yield f"made: {', '.join(_with_details(change) for change in made)}"
        if any(change.part.costs for change in made):
            yield "OCI may charge for these; docs/production.md has the limits of Always Free"
        return
    for change in changes:
        if change.part.lost and change.action in (Action.REMOVED, Action.REPLACED):
            continue
        yield f"{_with_details(change)} {change.action.value}{_restart(plan, change)}"
    if any(change.part.costs for change in changes):
        yield "what OCI charges may change by this"


def _restart(plan: Plan, change: Change) -> str:
    return (
        ", for which OCI restarts it" if change.part.kind is Kind.MACHINE and _machine_restarts(plan) else ""
    )


def _with_details(change: Change) -> str:
    said = details(change)
    return f"{change.part.words} ({', '.join(said)})" if said else change.part.words


# --- files, services, scripts ---


def _files(plan: Plan) -> Iterator[str]:
    if plan.new_stack:
        yield f"made: all, below {plan.after.get('srvRoot', plan.settings.get('srvRoot', '/srv'))}"
        return
    for change in plan.of(Kind.FILES):
        if change.action is Action.REMOVED or not change.input_changes():
            continue
        paths = changed_files(change)
        if paths:
            yield from ([f"{len(paths)} of {change.part.words}"] if len(paths) > _NAMES else paths)
        else:
            yield f"{change.part.words}"


def _reloads(plan: Plan) -> Iterator[str]:
    if plan.new_stack:
        return
    away = {change.container for change in plan.of(Kind.CONTAINER)}
    said: dict[str, list[str]] = {}
    for change in plan.of(Kind.RELOAD):
        if change.part.service and change.part.service not in away and not _only_the_way(change):
            said.setdefault(change.part.service, []).append(change.part.words)
    for container, service in SERVICES.items():
        if container in said:
            yield f"{service}: its {' and its '.join(said[container])}"


def _scripts(plan: Plan) -> Iterator[str]:
    if plan.new_stack:
        return
    ran = [c for c in plan.of(Kind.SCRIPT) if c.action in (Action.MADE, Action.CHANGED)]
    everything = [
        *ran,
        *plan.of(Kind.FILES, Kind.ACCOUNT, Kind.CONNECTION, Kind.PASSWORD, Kind.RELOAD, Kind.HOLD),
    ]
    another_way = [c for c in everything if _only_the_way(c)]
    if another_way:
        yield f"{len(another_way)} run again because the way to the machine is another one; they find nothing to do"
    new_text = [
        c for c in everything if c not in another_way and c.part.kind is not Kind.SCRIPT and _only_the_text(c)
    ]
    if new_text:
        yield f"{_listed([c.part.words for c in new_text])}: their script is a newer one"
    if said := [c.part.words for c in ran if c not in another_way]:
        yield _listed(said)


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMES} more" if len(words) > _NAMES else ""
    return f"{', '.join(words[:_NAMES])}{more}"


def _only_the_way(change: Change) -> bool:
    before, after = change.calls()
    return bool(
        before
        and after
        and before.way != after.way
        and (before.text, before.arguments) == (after.text, after.arguments)
        and not change.input_changes()
    )


def _only_the_text(change: Change) -> bool:
    before, after = change.calls()
    return bool(
        before
        and after
        and before.text != after.text
        and before.arguments == after.arguments
        and not change.input_changes()
    )


# --- drift, policy, waivers ---


def _drift(plan: Plan) -> Iterator[str]:
    for drift in plan.drift:
        yield f"{_drifted(drift.part)}: {'; '.join(drift.sentences)}"


def _drifted(part: Part) -> str:
    if part.kind is Kind.CONTAINER:
        return f"container {part.service}"
    return (
        f"what {SERVICES[part.service]} runs with"
        if part.kind is Kind.RELOAD and part.service
        else part.words
    )


def _advice(plan: Plan) -> Iterator[str]:
    for violation in plan.violations:
        if not violation.mandatory:
            yield f"{violation.policy}: {violation.message}"


def _waivers(plan: Plan) -> Iterator[str]:
    applications = plan.settings.get("applications")
    for name, entry in sorted(applications.items() if isinstance(applications, dict) else ()):
        waiver = entry.get("passwordWaiver") if isinstance(entry, dict) else None
        if isinstance(waiver, dict):
            # pulumi hands a day on as a point in time.
            yield f"{name}, until {str(waiver.get('until', '?'))[:10]}: {waiver.get('reason', 'no reason given')}"
    yield from plan.waived
