"""Files that go into a container before it starts."""

import base64
import grp
import io
import pwd
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox.providers.stand_ins.errors import ProviderError


def archive(upload: dict[str, Any]) -> bytes:
    """A tar archive with the one file of an upload, root-owned and 0644 unless it says otherwise."""
    content = _content(upload)
    member = tarfile.TarInfo(upload["file"])
    member.size = len(content)
    member.mtime = int(time.time())
    member.mode = _mode(upload)
    member.uid = _id_of(upload.get("owner"), lambda name: pwd.getpwnam(name).pw_uid)
    member.gid = _id_of(upload.get("group"), lambda name: grp.getgrnam(name).gr_gid)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _content(upload: dict[str, Any]) -> bytes:
    given = [name for name in ("content", "contentBase64", "source") if upload.get(name)]
    if not given:
        raise ProviderError(
            "error with upload content: one of 'content', 'content_base64', or 'source' must be set"
        )
    if len(given) > 1:
        raise ProviderError(
            "error with upload content: only one of 'content', 'content_base64', or 'source' can be set"
        )
    value = upload[given[0]]
    if given[0] == "content":
        return value.encode()
    if given[0] == "contentBase64":
        return base64.b64decode(value)
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise ProviderError(f"could not read file: open {value}: {error.strerror}") from error


def _mode(upload: dict[str, Any]) -> int:
    if upload.get("permissions"):
        return int(upload["permissions"], 8)
    return 0o744 if upload.get("executable") else 0o644


def _id_of(name: str | None, look_up: Callable[[str], int]) -> int:
    if not name:
        return 0
    try:
        return int(name) if name.isdecimal() else look_up(name)
    except KeyError:
        raise ProviderError(
            f"upload: this machine knows no user or group {name!r}; use its number."
        ) from None
