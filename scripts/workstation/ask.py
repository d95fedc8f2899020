"""Asking before something that cannot be taken back."""

import os
import sys

from scripts.workstation.trouble import Trouble


def confirm(stack: str, doing: str, *, command: str) -> None:
    """Go on only when the stack's name is typed, or given as CONFIRM. `doing` completes "type the name to …"."""
    if os.environ.get("CONFIRM"):
        answered = os.environ["CONFIRM"]
    elif sys.stdin.isatty():
        sys.stdout.flush()
        answered = input(f"Type the stack's name, {stack}, to {doing}: ").strip()
    else:
        raise Trouble(f"nothing was done: there is no terminal to ask on; say {command} CONFIRM={stack}")
    if answered != stack:
        raise Trouble(f"nothing was done: that was not the stack's name, {stack}")
