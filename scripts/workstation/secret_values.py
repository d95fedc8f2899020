"""The platform's four secrets: their keys, and values that are generated."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits + "_-"
LENGTHS = {
    "postgresPassword": 32,
    "pgbouncerAuthPassword": 32,
    "redisAdminPassword": 32,
    "saltKey": 43,
}


def generate(length: int) -> str:
    """A secret that every reader of platform.env takes alike."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def generated(keys: list[str]) -> dict[str, str]:
    """A new value for each key."""
    return {key: generate(LENGTHS[key]) for key in keys}
