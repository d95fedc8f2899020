"""Asking before something that cannot be taken back."""

import os
import sys

from scripts.workstation.trouble import Trouble


def confirm(name: str, doing: str, *, command: str, of: str = "stack") -> None:
    """Go on only when the name is typed, or given as CONFIRM. `doing` completes "type the name to …"; `of` says whose it is."""
    if os.environ.get("CONFIRM"):
        answered = os.environ["CONFIRM"]
    elif sys.stdin.isatty():
        sys.stdout.flush()
        answered = input(f"Type the {of}'s name, {name}, to {doing}: ").strip()
    else:
        raise Trouble(f"nothing was done: there is no terminal to ask on; say {command} CONFIRM={name}")
    if answered != name:
        raise Trouble(f"nothing was done: that was not the {of}'s name, {name}")
