"""Compares a resource's state with its new inputs, as the bridge to a Terraform provider does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulumi.provider.experimental.provider import PropertyDiffKind

_NOTHING = (None, "", 0, False)


@dataclass(frozen=True)
class Rules:
    """Which properties do not compare like plain sets and values."""

    ordered: frozenset[str] = frozenset()
    """Lists whose order means something; every other list compares as a set."""
    computed: frozenset[str] = frozenset()
    """Nested properties that the engine chooses when the program says nothing."""
    caseless: frozenset[str] = frozenset()
    """Texts that mean the same in upper and lower case."""


def is_nothing(value: Any) -> bool:
    """Whether the value is the zero of its type, which counts like a missing one."""
    return value == {} or value == [] or (not isinstance(value, dict | list) and value in _NOTHING)


def same(old: Any, new: Any, rules: Rules, name: str = "") -> bool:
    """Whether a state value already is what the input asks for."""
    if is_nothing(old) and is_nothing(new):
        return True
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(
            (key not in new and key in rules.computed) or same(old.get(key), new.get(key), rules, key)
            for key in old.keys() | new.keys()
        )
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return False
        if name in rules.ordered:
            return all(same(a, b, rules) for a, b in zip(old, new, strict=True))
        return not any(_unmatched(old, new, rules))
    if name in rules.caseless and isinstance(old, str) and isinstance(new, str):
        return old.casefold() == new.casefold()
    return type(old) is type(new) and old == new


def changes(path: str, old: Any, new: Any, rules: Rules, name: str = "") -> dict[str, PropertyDiffKind]:
    """The paths below `path` that differ, and how."""
    if same(old, new, rules, name):
        return {}
    if old is None:
        return {path: PropertyDiffKind.ADD}
    if new is None:
        return {path: PropertyDiffKind.DELETE}
    found: dict[str, PropertyDiffKind] = {}
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            if key in new or key not in rules.computed:
                found |= changes(_member(path, key), old.get(key), new.get(key), rules, key)
    elif isinstance(old, list) and isinstance(new, list):
        removed, added = _unmatched(old, new, rules)
        if name in rules.ordered or not (removed or added):
            for index in range(max(len(old), len(new))):
                before, after = (items[index] if index < len(items) else None for items in (old, new))
                found |= changes(f"{path}[{index}]", before, after, rules)
        for index in removed | added if name not in rules.ordered else ():
            if index in removed and index in added:
                kind = PropertyDiffKind.UPDATE
            else:
                kind = PropertyDiffKind.ADD if index in added else PropertyDiffKind.DELETE
            found[f"{path}[{index}]"] = kind
    else:
        found[path] = PropertyDiffKind.UPDATE
    return found


def in_order_of(old: Any, fresh: Any, rules: Rules) -> Any:
    """`fresh` with the items of a set in the order that `old` has them, so that a state stays readable."""
    if not isinstance(old, list) or not isinstance(fresh, list):
        return fresh
    rest = list(fresh)
    result = []
    for wanted in old:
        match = next((item for item in rest if same(item, wanted, rules)), None)
        if match is not None:
            rest.remove(match)
            result.append(match)
    return result + rest


def _unmatched(old: list[Any], new: list[Any], rules: Rules) -> tuple[set[int], set[int]]:
    """Positions of the items that only the one, and only the other list has."""
    removed, added = set(range(len(old))), set()
    for position, wanted in enumerate(new):
        match = next((index for index in sorted(removed) if same(old[index], wanted, rules)), None)
        if match is None:
            added.add(position)
        else:
            removed.discard(match)
    return removed, added


def _member(path: str, key: str) -> str:
    return f"{path}.{key}" if re.fullmatch(r"[A-Za-z_]\w*", key) else f'{path}["{key}"]'
