"""Values of the engine's events: which are secret, which only `up` will know."""

from collections.abc import Mapping
from typing import Any

# In place of a value that only `up` will know.
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# The key by which the engine's protocol tells a special object, here a secret.
SIGNATURE = "4dabf18193072939515e22adb298388d"
MASKED = "[secret]"


def is_secret(value: Any) -> bool:
    """Whether a value is masked."""
    return value == MASKED or (isinstance(value, Mapping) and SIGNATURE in value)


def known_text(value: Any) -> str | None:
    """A text that is there to be read; None for every other value."""
    return value if isinstance(value, str) and value not in (MASKED, UNKNOWN) else None
