"""server.env, the file from which an application of the platform knows how to connect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Where compose.yaml mounts the application's folder.
PATH = Path("/srv/application/server.env")

_LINE = re.compile(
    r"""
    (?:export\s+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) =
    (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>(?:[^\s'"\#].*?)?) )
    (?:\s+\#.*|\s*)
    """,
    re.VERBOSE,
)


class ServerEnvError(Exception):
    """What is wrong with the file; never a value of it."""


def parse(text: str) -> dict[str, str]:
    r"""The variables, as sh and `docker compose --env-file` read them: bare, in '…' as they are, in "…" with \\, \", \$ and \`."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.fullmatch(stripped)
        if not found:
            raise ServerEnvError(
                f"line {number} of server.env cannot be read; write NAME=value, NAME='value' or NAME=\"value\""
            )
        name, single, double, bare = found.group("name", "single", "double", "bare")
        values[name] = single or (re.sub(r'\\([\\"$`])', r"\1", double) if double else bare or "")
    return values


@dataclass(frozen=True)
class Connections:
    """The platform's part of the file."""

    database_url: str = field(repr=False)
    database_direct_url: str = field(repr=False)
    redis_host: str
    redis_port: int
    redis_user: str
    redis_password: str = field(repr=False)
    redis_key_prefix: str


def connections(values: Mapping[str, str]) -> Connections:
    """What an application with both stores has been given."""
    try:
        return Connections(
            database_url=values["DATABASE_URL"],
            database_direct_url=values["DATABASE_DIRECT_URL"],
            redis_host=values["REDIS_HOST"],
            redis_port=int(values["REDIS_PORT"]),
            redis_user=values["REDIS_USER"],
            redis_password=values["REDIS_PASSWORD"],
            redis_key_prefix=values["REDIS_KEY_PREFIX"],
        )
    except KeyError as missing:
        raise ServerEnvError(
            f"server.env lacks {missing.args[0]}; list librarian with `redis: true` in the platform's applications and run up"
        ) from None


def read(path: Path = PATH) -> Connections:
    """The file as it is now: the environment of a running container stays as it was when it started."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ServerEnvError(
            f"{path} cannot be read ({error.strerror}); mount the folder in which the platform writes server.env"
        ) from None
    return connections(parse(text))
