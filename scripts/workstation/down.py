"""`make down`: stop and remove what runs; the data stays, and so do the secrets."""

from scripts.workstation import locks, prepare, protection, run_pulumi, state, teardown
from scripts.workstation.progress import Progress
from scripts.workstation.shell import require_root_rights
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble, command


def main() -> int:
    """Down for the selected stack."""
    own = prepare.own_stack()
    if own is None:
        session = prepare.session(None)
        with protection.unprotected(session):
            return run_pulumi.attached(session, session.words("destroy", "--exclude-protected"))
    if not own.in_backend():
        raise Trouble(f"there is no {own.name} stack to take down; make up{prepare.suffix()} makes one")
    require_root_rights()
    with locks.exclusive(own.lock, "down", own.name):
        print(_take_down(own))
    return 0


def _take_down(own: OwnStack) -> str:
    progress = Progress(prepare.STEPS_AS_IT_IS + 1)
    ready = prepare.as_it_is(own, progress)
    require_root_rights()
    with progress.step("pulumi destroy, without what is protected") as step:
        ours = own.on_this_machine and state.read(ready.session).holds_tree()
        with protection.unprotected(ready.session):
            teardown.destroy_known(ready, step, "--exclude-protected", what="down")
        if ours:
            teardown.remove_unknown(ready)
    gone, kept = (
        ("The containers are gone", f"{ready.srv_root}/data")
        if own.on_this_machine
        else ("The machine is gone", "its volume")
    )
    return (
        f"\n{gone}; the data is kept in {kept}. make up{prepare.suffix()} brings them back, "
        f"make destroy{prepare.suffix()} deletes it all."
    )


if __name__ == "__main__":
    command(main)
