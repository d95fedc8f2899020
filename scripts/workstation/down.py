"""`make down`: stop and remove the containers; the data, the network and the secrets stay."""

from scripts.workstation import locks, prepare, run_pulumi, stack, teardown
from scripts.workstation.paths import STATE
from scripts.workstation.progress import Progress
from scripts.workstation.shell import require_root_rights
from scripts.workstation.trouble import Trouble, command


def main() -> int:
    """Down for the selected stack."""
    if not prepare.is_local():
        session = prepare.other_stack()
        return run_pulumi.attached(session, session.words("destroy", "--exclude-protected"))
    if not stack.in_backend():
        raise Trouble("there is no local stack to take down; make up makes one")
    require_root_rights()
    with locks.exclusive(STATE, "down"):
        progress = Progress(4)
        local = prepare.local_as_it_is(progress)
        with progress.step("pulumi destroy, without what is protected") as step:
            teardown.destroy_known(local, step, "--exclude-protected", what="down")
            teardown.remove_unknown(local)
        print(
            f"\nThe containers are gone; the data is kept in {local.srv_root}/data. make up brings them back, make destroy deletes it all."
        )
    return 0


if __name__ == "__main__":
    command(main)
