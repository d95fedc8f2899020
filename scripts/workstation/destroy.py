"""`make destroy`: delete the local stack with its data, after naming all that goes and asking."""

import os
import shutil
import sys
from pathlib import Path

from scripts.workstation import choices, containers, locks, prepare, stack, teardown
from scripts.workstation.engine import Engine
from scripts.workstation.paths import STATE
from scripts.workstation.preflight import CONTAINERS, NETWORK
from scripts.workstation.prepare import Local
from scripts.workstation.progress import Progress, Step
from scripts.workstation.shell import answer, as_root, logged, require_root_rights
from scripts.workstation.trouble import Trouble, command

# What the platform makes in srvRoot. The marker goes last: until then the folder is still known as ours.
OURS = ("apps", "backups", "config", "data", "run")


def main() -> int:
    """Ask, then delete. Each part is skipped where it is gone already, so a destroy that was cut off is run again."""
    if not prepare.is_local():
        name = prepare.selected_stack()
        raise Trouble(
            f"make destroy deletes only the local stack; for {name}, back up its /srv, then run pulumi state unprotect --all --stack {name} "
            f"and pulumi destroy --stack {name} by hand, and delete /srv on its host yourself"
        )
    if not stack.exists():
        raise Trouble("there is no local stack to delete")
    require_root_rights()
    with locks.exclusive(STATE, "destroy"):
        progress = Progress(6)
        local = prepare.local_as_it_is(progress)
        print(_what_goes(local.engine, local.srv_root))
        _confirm()
        with progress.step("pulumi destroy") as step:
            _destroy_resources(local, step)
        with progress.step("files") as step:
            step.result(_delete_files(local.srv_root))
        with progress.step("stack, secrets and recorded choices"):
            _delete_stack(local)
        print("\nThe local stack is gone. make up makes a new, empty one.")
    return 0


def _what_goes(engine: Engine, srv_root: Path) -> str:
    """The exact list, for a person to read before agreeing."""
    names = containers.ours(engine, srv_root)
    lines = [
        f"containers {', '.join(names)}"
        if names
        else f"no container ({', '.join(CONTAINERS)} are gone already)"
    ]
    lines.append(
        f"network {NETWORK}" if containers.our_network(engine) else f"no network ({NETWORK} is gone already)"
    )
    if stack.owner_of(srv_root) == stack.NAME:
        lines.append(f"{srv_root} with all data and backups in it ({_size(srv_root)})")
    else:
        lines.append(f"no files ({srv_root} does not hold this stack's platform)")
    lines.append(
        f"the stack '{stack.NAME}', its secrets and its history ({stack.FOLDER} and {stack.BACKEND})"
    )
    return "\nThis deletes, for good:\n" + "\n".join(f"  - {line}" for line in lines) + "\n"


def _confirm() -> None:
    if os.environ.get("CONFIRM"):
        answered = os.environ["CONFIRM"]
    elif sys.stdin.isatty():
        answered = input(f"Type the stack's name, {stack.NAME}, to delete all of it: ").strip()
    else:
        raise Trouble(
            f"nothing was deleted: there is no terminal to ask on; say make destroy CONFIRM={stack.NAME}"
        )
    if answered != stack.NAME:
        raise Trouble(f"nothing was deleted: that was not the stack's name, {stack.NAME}")


def _size(folder: Path) -> str:
    said = answer(as_root(["du", "-sh", "--", str(folder)]), timeout=600)
    return said.stdout.split()[0] if said.stdout.split() else "size unknown"


def _destroy_resources(local: Local, step: Step) -> None:
    if stack.in_backend():
        logged(
            local.session.words("state", "unprotect", "--all", "--yes"),
            log="unprotect",
            failure="the stack's protection could not be lifted",
            environment=local.session.environment,
        )
        teardown.destroy_known(local, step, what="destroy")
    teardown.remove_unknown(local)
    if containers.our_network(local.engine):
        containers.remove_network(local.engine)


def _delete_files(srv_root: Path) -> str:
    if stack.owner_of(srv_root) != stack.NAME:
        return "none of this stack's are there"
    for names in (OURS, (stack.MARKER,)):
        logged(
            as_root(["rm", "-rf", "--", *(str(srv_root / name) for name in names)]),
            log="delete-files",
            failure=f"the files in {srv_root} could not all be deleted",
        )
    if srv_root == Path("/srv"):
        return "the platform's are gone from /srv, which every system has"
    # Only when empty: what else an operator put there stays.
    gone = answer(as_root(["rmdir", "--", str(srv_root)])).returncode == 0
    return (
        f"{srv_root} is gone"
        if gone
        else f"the platform's are gone from {srv_root}, which holds others or is in use"
    )


def _delete_stack(local: Local) -> None:
    if stack.in_backend():
        logged(
            local.session.words("stack", "rm", "--yes", "--preserve-config", "--remove-backups"),
            log="stack-rm",
            failure="the stack could not be removed",
            environment=local.session.environment,
        )
    choices.forget()
    shutil.rmtree(STATE / "pulumi-home", ignore_errors=True)
    shutil.rmtree(stack.BACKEND, ignore_errors=True)
    # Last: with it goes the knowledge of what else was to be deleted.
    shutil.rmtree(stack.FOLDER)


if __name__ == "__main__":
    command(main)
