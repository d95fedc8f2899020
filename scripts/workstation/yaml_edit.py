"""Setting values in a YAML file's text so that its comments, its order and everything else stay as a person wrote them."""

from collections.abc import Sequence
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

INDENT = 2


def set_value(text: str, path: Sequence[str], value: Any) -> str:
    """The text with `value` at `path`, whose missing parts are made."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return text + _block(path, value, 0)
    if not isinstance(root, MappingNode):
        raise ValueError("the text holds no keys and values")
    return _set_within(text, root, path, value)


def remove(text: str, path: Sequence[str]) -> str:
    """The text without the line, or lines, of the key at `path`, if it is there."""
    document = yaml.safe_load(text) or {}
    for depth, key in enumerate(path):
        if not isinstance(document, dict) or key not in document:
            return text
        if depth < len(path) - 1:
            document = document[key]
    parent = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in path[:-1]:
        parent = _value_of(parent, key)
    if not isinstance(parent, MappingNode):
        return text
    if parent.flow_style or len(parent.value) == 1:
        return set_value(text, path[:-1], {k: v for k, v in document.items() if k != path[-1]})
    key, value = next((k, v) for k, v in parent.value if k.value == path[-1])
    begin = text.rfind("\n", 0, key.start_mark.index) + 1
    end = text.find("\n", _end(value))
    return text[:begin] + (text[end + 1 :] if end >= 0 else "")


def _set_within(text: str, parent: MappingNode, path: Sequence[str], value: Any) -> str:
    found = _value_of(parent, path[0])
    if found is None:
        return _add(text, parent, path, value)
    if len(path) > 1 and isinstance(found, MappingNode) and not (found.flow_style or not found.value):
        return _set_within(text, found, path[1:], value)
    if len(path) > 1:
        # On one line, or empty, or something else than keys: written anew as a whole.
        present = yaml.safe_load(text[found.start_mark.index : _end(found)]) if found.value else {}
        value = _merged(present if isinstance(present, dict) else {}, path[1:], value)
    return _replaced(text, parent, found, value)


def _replaced(text: str, parent: MappingNode, found: Node, value: Any) -> str:
    begin, end = found.start_mark.index, _end(found)
    rendered = _flow(value)
    if isinstance(found, MappingNode | SequenceNode) and not found.flow_style and found.value:
        # It began on a line of its own, below its key.
        key = next(k for k, v in parent.value if v is found)
        begin = text.index(":", key.end_mark.index) + 1
        rendered = f" {rendered}"
    elif begin > 0 and text[begin - 1] == ":":
        rendered = f" {rendered}"
    return text[:begin] + rendered + text[end:]


def _add(text: str, parent: MappingNode, path: Sequence[str], value: Any) -> str:
    if parent.flow_style:
        present = yaml.safe_load(text[parent.start_mark.index : parent.end_mark.index])
        return (
            text[: parent.start_mark.index]
            + _flow(_merged(present, path, value))
            + text[parent.end_mark.index :]
        )
    first, last = parent.value[0][0], parent.value[-1][1]
    end = text.find("\n", _end(last))
    end = len(text) if end < 0 else end
    return f"{text[:end]}\n{_block(path, value, first.start_mark.column)}".rstrip("\n") + (text[end:] or "\n")


def _block(path: Sequence[str], value: Any, column: int) -> str:
    """The lines of a new key, with those of its missing parents."""
    lines = [" " * (column + INDENT * depth) + f"{key}:" for depth, key in enumerate(path)]
    return "\n".join(lines) + f" {_flow(value)}\n"


def _merged(present: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    inner = present.get(path[0])
    nested = inner if isinstance(inner, dict) else {}
    return {**present, path[0]: value if len(path) == 1 else _merged(nested, path[1:], value)}


def _value_of(node: Node | None, key: str) -> Node | None:
    pairs = node.value if isinstance(node, MappingNode) else []
    return next((v for k, v in pairs if k.value == key), None)


def _end(node: Node) -> int:
    """Where a node's own text ends; the mark of a block lies behind the comments that follow it."""
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value:
        return node.end_mark.index
    last = node.value[-1]
    return _end(last[1] if isinstance(node, MappingNode) else last)


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
