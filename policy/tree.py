"""A resource's inputs as the engine sends them: dicts, lists, texts, numbers; with marks on what is secret or not yet known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

# Of the engine's protocol.
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
_UNKNOWN = {
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
}


class Unknown:
    """What only `up` will know. It is looked at then, before the resource is made."""


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Hidden:
    """What is marked secret; kept out of every representation."""

    value: Any = field(repr=False)


def from_wire(sent: Any) -> Any:
    """The tree of what the engine sends; a tree stays as it is."""
    if isinstance(sent, str):
        return UNKNOWN if sent in _UNKNOWN else sent
    if isinstance(sent, Mapping):
        if sent.get(_SIGNATURE) == _SECRET:
            return Hidden(from_wire(sent.get("value")))
        return {str(key): from_wire(value) for key, value in sent.items()}
    if isinstance(sent, Sequence):
        return [from_wire(part) for part in sent]
    return sent


def unmarked(tree: Any) -> Any:
    """The same without marks on secrets."""
    if isinstance(tree, Hidden):
        return unmarked(tree.value)
    if isinstance(tree, Mapping):
        return {key: unmarked(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [unmarked(part) for part in tree]
    return tree


def texts(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text that is not marked secret, with the path to it."""
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from texts(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, Sequence):
        for number, part in enumerate(tree):
            yield from texts(part, f"{path}[{number}]")


def known(value: Any) -> bool:
    """Whether there is a value that can be looked at."""
    return value is not UNKNOWN and value is not None


def entries(inputs: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The objects of a list, as far as they are known."""
    listed = inputs.get(key)
    return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []


def words(inputs: Mapping[str, Any], key: str) -> list[str]:
    """The texts of a list, as far as they are known."""
    listed = inputs.get(key)
    return [word for word in listed if isinstance(word, str)] if isinstance(listed, list) else []
