"""Reading platform.env: the form that the platform writes, and nothing looser."""

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\$`]|\\["\\$])*)"')


class NotOurForm(ValueError):
    """A line that the platform would not have written. The message never shows a value."""


def parse(text: str) -> dict[str, str]:
    """The values by name. Raises NotOurForm, naming the line's number."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, separator, quoted = line.partition("=")
        if not separator or not _NAME.fullmatch(name):
            raise NotOurForm(f"line {number} is not NAME='value'")
        if name in values:
            raise NotOurForm(f"line {number} says {name} a second time")
        values[name] = _unquote(quoted, number)
    return values


def _unquote(quoted: str, number: int) -> str:
    if single := _SINGLE.fullmatch(quoted):
        return single.group(1)
    if double := _DOUBLE.fullmatch(quoted):
        return re.sub(r'\\(["\\$])', r"\1", double.group(1))
    raise NotOurForm(
        f'line {number} holds a value that is neither in single quotes nor in double quotes with \\\\, \\" and \\$'
    )
