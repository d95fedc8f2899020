"""`make preview`: what `make up` would change."""

import sys

from scripts.workstation import locks, prepare, run_pulumi, stack
from scripts.workstation.paths import STATE
from scripts.workstation.progress import Progress
from scripts.workstation.trouble import command


def main() -> int:
    """Preview for the selected stack; further words go to pulumi."""
    if not prepare.is_local():
        session = prepare.other_stack()
        return run_pulumi.attached(session, session.words("preview", *sys.argv[1:]))
    with locks.exclusive(STATE, "preview"):
        progress = Progress(7)
        local = prepare.local_for_changes(progress)
        with progress.step("the stack and its secrets"):
            stack.initialise(local.session)
            stack.generate_secrets(local.session)
        return run_pulumi.attached(local.session, local.session.words("preview", *sys.argv[1:], config=True))


if __name__ == "__main__":
    command(main)
