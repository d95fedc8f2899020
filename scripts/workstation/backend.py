"""The user's own Pulumi backend: whether it is there, and what it needs before a stack can hold secrets."""

import json
import os
from collections.abc import Mapping
from typing import Any

from scripts.workstation.paths import ROOT
from scripts.workstation.session import Session, complaint
from scripts.workstation.shell import answer, logged
from scripts.workstation.trouble import Trouble


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
