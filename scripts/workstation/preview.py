"""`make preview`: what `make up` would change."""

import sys

from scripts.workstation import locks, prepare, run_pulumi
from scripts.workstation.progress import Progress
from scripts.workstation.trouble import command


def main() -> int:
    """Preview for the selected stack; further words go to pulumi."""
    own = prepare.own_stack()
    if own is None:
        session = prepare.users_session_for_changes()
        return run_pulumi.attached(session, session.words("preview", *sys.argv[1:]))
    with locks.exclusive(own.lock, "preview", own.name):
        progress = Progress(prepare.STEPS_FOR_CHANGES[own.name] + 1)
        ready = prepare.for_changes(own, progress)
        with progress.step("the stack and its secrets"):
            own.initialise(ready.session)
            own.generate_secrets(ready.session)
        return run_pulumi.attached(ready.session, ready.session.words("preview", *sys.argv[1:], config=True))


if __name__ == "__main__":
    command(main)
