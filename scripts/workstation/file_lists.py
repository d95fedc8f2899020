"""Which files a changed list of files writes anew. scripts/host/write-files.sh describes the list."""

import re

from scripts.workstation.plan import Change

# The size that stands there is no help: a text in which pulumi has masked something has another one.
_HEADER = re.compile(r"^file \d+ \d+:\d+ \d+ (?P<path>/.*)$", re.MULTILINE)


def files_in(listed: str) -> dict[str, str]:
    """The files of a list, path to its header and text."""
    headers = list(_HEADER.finditer(listed))
    ends = [*(header.start() for header in headers), len(listed)][1:]
    return {header["path"]: listed[header.start() : end] for header, end in zip(headers, ends, strict=True)}


def changed_files(change: Change) -> list[str]:
    """The paths that a list of files writes anew; empty where they are secret or not known yet."""
    before, after = change.texts()
    if after is None:
        return []
    old, new = files_in(before or ""), files_in(after)
    return [path for path, text in new.items() if _without_end(old.get(path)) != _without_end(text)]


def _without_end(text: str | None) -> str | None:
    return None if text is None else text.removesuffix("\nend\n")
