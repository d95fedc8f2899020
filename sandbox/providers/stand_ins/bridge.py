"""What the bridge to Terraform providers does for all resource types: defaults, names, differences, refresh."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import (
    CheckFailure,
    CheckRequest,
    CheckResponse,
    DiffRequest,
    DiffResponse,
    PropertyDiff,
    PropertyDiffKind,
    ReadRequest,
    ReadResponse,
)

from sandbox.providers.stand_ins import inputs as schema
from sandbox.providers.stand_ins.comparing import Rules, changes, in_order_of, is_nothing, same
from sandbox.providers.stand_ins.kind import Kind
from sandbox.providers.stand_ins.values import DEFAULTS_KEY, UNKNOWN, plain_map, property_map

_REPLACED = {
    PropertyDiffKind.ADD: PropertyDiffKind.ADD_REPLACE,
    PropertyDiffKind.DELETE: PropertyDiffKind.DELETE_REPLACE,
    PropertyDiffKind.UPDATE: PropertyDiffKind.UPDATE_REPLACE,
}


def checked(kind: Kind, request: CheckRequest, problems: Iterable[str]) -> CheckResponse:
    """The answer to a check: the problems, or the inputs with defaults and a name."""
    failures = [CheckFailure("", problem) for problem in problems]
    if failures:
        return CheckResponse(request.new_inputs, failures)
    return CheckResponse(property_map(_with_defaults(kind, plain_map(request.new_inputs), request)))


def difference(kind: Kind, request: DiffRequest) -> DiffResponse:
    """Compare inputs with the state; name what forces a replacement."""
    old, new = plain_map(request.old_state), plain_map(request.new_inputs)
    detailed: dict[str, PropertyDiff] = {}
    replaces: list[str] = []
    changed: list[str] = []
    for name in sorted(schema.fields_of(kind.argument_class)):
        if name not in new and name in kind.chosen:
            continue
        if name in kind.blank_keeps and not new.get(name):
            continue
        found = changes(name, old.get(name), new.get(name), kind.rules, name)
        if not found:
            continue
        changed.append(name)
        forcing = {path for path in found if kind.replaces(path)}
        if not forcing and any(map(kind.replaces, _leaves(name, old.get(name), new.get(name), kind.rules))):
            forcing = set(found)  # an object that comes or goes as a whole, with a part that replaces
        if forcing:
            replaces.append(name)
        detailed |= {
            path: PropertyDiff(_REPLACED[how] if path in forcing else how, input_diff=False)
            for path, how in found.items()
        }
    keeps_name = kind.auto_named and "name" not in _defaulted(request.new_inputs)
    return DiffResponse(
        changes=bool(changed),
        replaces=replaces,
        diffs=changed,
        detailed_diff=detailed,
        # A name that the program chose cannot belong to the old and the new one at once.
        delete_before_replace=bool(replaces)
        and (kind.delete_before_replace or (keeps_name and old.get("name") == new.get("name"))),
    )


def foreseen(kind: Kind, given: dict[str, Any]) -> dict[str, PropertyValue]:
    """The state after a creation, as far as a preview knows it."""
    return property_map(dict.fromkeys(kind.outputs | kind.chosen, UNKNOWN) | given)


def refreshed(kind: Kind, request: ReadRequest, found: dict[str, Any] | None) -> ReadResponse:
    """State and inputs after a read; an empty id if the resource is gone."""
    if found is None:
        return ReadResponse()
    state, old_inputs = merged(kind, plain_map(request.properties), found), plain_map(request.inputs)
    if old_inputs:
        fresh = {
            name: value if same(state.get(name), value, kind.rules, name) else state.get(name)
            for name, value in old_inputs.items()
        }
    else:
        fresh = _imported(kind, state)
    properties = property_map(fresh)
    if DEFAULTS_KEY in request.inputs:
        properties[DEFAULTS_KEY] = request.inputs[DEFAULTS_KEY]
    return ReadResponse(request.resource_id, property_map(state), properties)


def updated(kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The state after an update: the new inputs, and of the old state what is no input."""
    kept = {
        name: value for name, value in old.items() if name in kind.outputs | kind.chosen or is_nothing(value)
    }
    return kept | new


def merged(kind: Kind, state: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The state with everything that was read back, sets in the order they had."""
    return state | {name: in_order_of(state.get(name), value, kind.rules) for name, value in found.items()}


def unchanged(kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether no input differs: an update that only a failed initialization brought about."""
    return all(same(old.get(name), value, kind.rules, name) for name, value in new.items())


def multiple(error: object) -> str:
    """The form in which the bridge lists errors."""
    return f"1 error occurred:\n\t* {error}\n\n"


def _leaves(name: str, old: Any, new: Any, rules: Rules) -> Iterable[str]:
    if isinstance(old or new, Mapping):
        return changes(name, old or {}, new or {}, rules, name)
    return ()


def _defaulted(inputs: Mapping[str, PropertyValue]) -> set[str]:
    names = inputs.get(DEFAULTS_KEY)
    return {item.value for item in names.value} if names and isinstance(names.value, tuple) else set()  # pyright: ignore


def _with_defaults(kind: Kind, given: dict[str, Any], request: CheckRequest) -> dict[str, Any]:
    defaults = dict(kind.defaults)
    if kind.auto_named:
        previous = request.old_inputs.get("name")
        if previous is not None and "name" in _defaulted(request.old_inputs):
            defaults["name"] = previous.value
        else:
            defaults["name"] = f"{request.name}-{_suffix(request.random_seed)}"
    filled = _filled(given, defaults)
    for name, nested in kind.nested_defaults.items():
        value = filled.get(name)
        if isinstance(value, list):
            filled[name] = [_filled(item, nested) if isinstance(item, dict) else item for item in value]
        elif isinstance(value, dict):
            filled[name] = _filled(value, nested)
    return filled


def _filled(given: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    missing = {name: value for name, value in defaults.items() if name not in given}
    return {**missing, **given, DEFAULTS_KEY: sorted(missing)}


def _suffix(seed: bytes) -> str:
    return (hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(4))[:7]


def _imported(kind: Kind, state: dict[str, Any]) -> dict[str, Any]:
    names = schema.fields_of(kind.argument_class).keys() - kind.chosen
    return {name: state[name] for name in sorted(names & state.keys()) if not is_nothing(state[name])}
