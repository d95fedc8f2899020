"""`make trust-host`: read a machine's host key anew from the console that OCI shows, and pin that."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.workstation import ask, config_file, locks, prepare, run_pulumi, state, up
from scripts.workstation.config_file import ConfigFile
from scripts.workstation.progress import Progress
from scripts.workstation.recover_host import no_machine, require_simulated
from scripts.workstation.session import Session
from scripts.workstation.shell import require_root_rights
from scripts.workstation.trouble import Trouble, command


def main() -> int:
    """Show the pinned key, ask, then let pulumi read the console again."""
    own = prepare.own_stack()
    if own is None:
        session = prepare.users_session_for_changes()
        options = _asked(session, config_file.of_stack(session.stack))
        return run_pulumi.attached(session, session.words("up", "--yes", *options))
    require_simulated(own)
    require_root_rights()
    with locks.exclusive(own.lock, "trust-host", own.name):
        progress = Progress(prepare.STEPS_FOR_CHANGES[own.name] + up.OWN_STEPS)
        ready = prepare.for_changes(own, progress)
        up.bring_up(ready, progress, *_asked(ready.session, own.config), what="trust-host")
    return 0


def _asked(session: Session, config: ConfigFile) -> list[str]:
    """The options of `pulumi up`, once the operator agrees."""
    found = state.read(session)
    if found.only(state.INSTANCE) is None:
        raise Trouble(no_machine(session.stack))
    history = found.only(state.CONSOLE_HISTORY)
    if config.host().get("hostKey"):
        raise Trouble(
            f"the host key of stack {session.stack} is the one of host.hostKey in {config.path.name}; correct it there, or remove it to have it "
            "read from the machine's console"
        )
    if history is None:
        # Nothing has been read yet, so a plain up reads it.
        return []
    print(
        f"\nThe key that stack {session.stack} has pinned: {pinned(run_pulumi.outputs(session))}\n"
        "It is forgotten, and the one that the machine has last printed on its console in OCI is pinned in its place.\n"
    )
    ask.confirm(session.stack, "read the key again", command=f"make trust-host STACK={session.stack}")
    return ["--replace", history]


def pinned(outputs: Mapping[str, Any]) -> str:
    """The pinned key as `ssh-keygen -l` shows it, from the words of the output sshCommand."""
    words: Sequence[str] = outputs.get("sshCommand") or []
    line = next((word for word in words if word.startswith("KnownHostsCommand=")), "")
    key = line.split()[-2:]
    if len(key) < 2:
        return "none"
    try:
        digest = hashlib.sha256(base64.b64decode(key[1], validate=True)).digest()
    except binascii.Error:
        return " ".join(key)
    return f"{key[0]} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


if __name__ == "__main__":
    command(main)
