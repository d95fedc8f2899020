"""The platform's own secrets: their keys, and values that are generated."""

import secrets
import string
from collections.abc import Iterable

_ALPHABET = string.ascii_letters + string.digits + "_-"
LENGTHS = {
    "postgresPassword": 32,
    "pgbouncerAuthPassword": 32,
    "redisAdminPassword": 32,
    "saltKey": 43,
    "backupKey": 43,
    "grafanaPassword": 32,
}


def generate(length: int) -> str:
    """A secret that every reader of platform.env takes alike."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def generated(keys: Iterable[str]) -> dict[tuple[str, ...], str]:
    """A new value for each key, by its path in the configuration."""
    return {(key,): generate(LENGTHS[key]) for key in keys}
