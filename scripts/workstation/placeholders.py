"""Values of a stack's file that still stand for the operator's own."""

import re
from typing import Any

from scripts.workstation.config_file import ConfigFile
from scripts.workstation.trouble import Trouble

# `replace-me`, `replace/me` within a key's base64, and an address that is nobody's (RFC 5737).
_PLACEHOLDER = re.compile(r"replace.me|\b192\.0\.2\.\d+", re.IGNORECASE)


def is_placeholder(value: Any) -> bool:
    """Whether a value only shows where one's own goes."""
    return bool(_PLACEHOLDER.search(str(value)))


def left_in(document: Any, key: str = "") -> list[str]:
    """The keys, joined by dots, whose values are placeholders."""
    if isinstance(document, dict):
        return [
            found
            for name, value in document.items()
            for found in left_in(value, f"{key}.{name}" if key else str(name))
        ]
    return [key] if is_placeholder(document) else []


def require_none(config: ConfigFile, stack: str) -> None:
    """Raises Trouble that names them and the command that asks for them."""
    found = left_in(config.settings()) if config.exists() else []
    if found:
        raise Trouble(
            f"{config.path.name} still has replace-me values for {', '.join(found)}; run make init-prod STACK={stack}, which asks for them, "
            "or write your own"
        )
