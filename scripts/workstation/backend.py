"""The user's own Pulumi backend: whether it is there, and what it needs before a stack can hold secrets."""

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scripts.workstation.paths import ROOT
from scripts.workstation.session import Session, complaint
from scripts.workstation.shell import answer, logged
from scripts.workstation.trouble import Trouble

# How pulumi names the holders of a lock in a backend of one's own (its diy/lock.go), and how Pulumi Cloud refuses.
_HOLDER = re.compile(r"created by (?P<who>\S+)@(?P<machine>\S+) \(pid (?P<pid>\d+)\) at (?P<since>\S+)")
_CLOUD_CONFLICT = re.compile(r"\[409\].*another update is currently in progress", re.IGNORECASE | re.DOTALL)


def require(session: Session, document: Mapping[str, Any]) -> str:
    """The backend's address. Raises Trouble where there is none, or where a passphrase is needed and not given."""
    said = answer(session.words("whoami", "--json")[:3], environment=session.environment)
    if said.returncode:
        raise Trouble(
            "pulumi knows no backend for the stack's state yet; run pulumi login file://$HOME/… for a folder of your own, "
            "pulumi login s3://… for a bucket, or pulumi login for Pulumi Cloud, and run the same command again"
        )
    address = str(json.loads(said.stdout).get("url") or "")
    if _by_passphrase(address, document) and not any(
        os.environ.get(name) for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
    ):
        raise Trouble(
            f"secrets in the backend {address} are encrypted by a passphrase; keep one in a file that only you can read "
            "(umask 077; head -c 32 /dev/urandom | base64 > FILE), keep a copy of it elsewhere, and run: "
            "export PULUMI_CONFIG_PASSPHRASE_FILE=FILE"
        )
    return address


def _by_passphrase(address: str, document: Mapping[str, Any]) -> bool:
    provider = str(document.get("secretsprovider") or "")
    if provider:
        return provider == "passphrase"
    return "encryptionsalt" in document or not address.startswith(("http://", "https://"))


def has_stack(session: Session) -> bool:
    """Whether the backend knows the stack. Raises Trouble where it does not say."""
    said = answer(session.words("stack", "output", "--json"), environment=session.environment)
    if said.returncode and "no stack named" not in said.stderr:
        raise Trouble(f"the stack {session.stack} cannot be looked up: {complaint(said.stderr)}")
    return said.returncode == 0


def make_stack(session: Session) -> None:
    """Make the stack, without selecting it for other commands."""
    logged(
        [session.executable, "stack", "init", session.stack, "--no-select", "--non-interactive"],
        log="stack-init",
        failure=f"the stack {session.stack} could not be made",
        environment=session.environment,
        cwd=ROOT,
    )


def locked(message: str, stack: str) -> str | None:
    """Who holds the lock that pulumi's message is about, since when, and what to do; None for any other message."""
    if _CLOUD_CONFLICT.search(message):
        holder = (
            "another update of it is in progress; its page in Pulumi Cloud (pulumi console) names who runs it"
        )
    elif "is currently locked by" in message and (holders := list(_HOLDER.finditer(message))):
        holder = " and ".join(
            f"{found['who']} on {found['machine']} (pid {found['pid']}) since {_in_utc(found['since'])}"
            for found in holders
        )
    else:
        return None
    return (
        f"the state of stack {stack} is locked: {holder}; wait for that to end, then run the same command again; only where it was "
        f"killed: pulumi cancel --stack {stack}, and what docs/state.md says of a lock that is left"
    )


def _in_utc(timestamp: str) -> str:
    try:
        return datetime.fromisoformat(timestamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return timestamp
