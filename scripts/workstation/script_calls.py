"""The script that a resource runs on the host, told apart from how the host is reached."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.workstation.values import known_text


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """A script's call: how the machine is reached, the script's text, and its name with the arguments."""

    way: tuple[str, ...]
    text: str
    arguments: tuple[str, ...]


def invocation(inputs: Mapping[str, Any]) -> Invocation | None:
    """The call that a HostState or a command makes; None where a part of that is not known yet."""
    words = _words(inputs)
    texts = [place for place, word in enumerate(words) if "\n" in word]
    if len(texts) != 1:
        return None
    (place,) = texts
    if place + 1 < len(words):
        return Invocation(way=tuple(words[:place]), text=words[place], arguments=tuple(words[place + 1 :]))
    # Over ssh the call is one line for the machine's shell.
    line = shlex.split(words[place])
    at = next((number for number, word in enumerate(line) if "\n" in word), None)
    if at is None:
        return None
    return Invocation(way=(*words[:place], *line[:at]), text=line[at], arguments=tuple(line[at + 1 :]))


def _words(inputs: Mapping[str, Any]) -> list[str]:
    said = inputs.get("words")
    if not isinstance(said, list):
        line, script = (
            known_text(value)
            for value in (inputs.get("create"), (inputs.get("environment") or {}).get("SCRIPT"))
        )
        if line is None or script is None:
            return []
        said = [script if word == "$SCRIPT" else word for word in shlex.split(line)]
    words = [known_text(word) for word in said]
    return [] if None in words else [word for word in words if word is not None]
