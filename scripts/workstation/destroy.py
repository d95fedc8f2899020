"""`make destroy`: delete a stack that is made here with its data, after naming all that goes and asking."""

import shutil
from pathlib import Path

from scripts.workstation import (
    ask,
    containers,
    locks,
    prepare,
    simulation,
    srv_root,
    state,
    teardown,
)
from scripts.workstation.preflight import CONTAINERS, NETWORK
from scripts.workstation.prepare import Ready
from scripts.workstation.progress import Progress, Step
from scripts.workstation.shell import answer, as_root, logged, require_root_rights
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble, command

# What the platform makes in srvRoot. The marker goes last: until then the folder is still known as ours.
OURS = ("apps", "backups", "config", "data", "run")


def main() -> int:
    """Ask, then delete. Each part is skipped where it is gone already, so a destroy that was cut off is run again."""
    own = prepare.own_stack()
    if own is None:
        name = prepare.selected_stack()
        raise Trouble(
            f"make destroy deletes only stacks that are made here; for {name}, back up its /srv, then run pulumi state unprotect --all --stack {name} "
            f"and pulumi destroy --stack {name} by hand, and delete its data volume or its /srv yourself"
        )
    if not own.exists():
        raise Trouble(f"there is no {own.name} stack to delete")
    require_root_rights()
    with locks.exclusive(own.lock, "destroy", own.name):
        if own.on_this_machine:
            _destroy_on_this_machine(own)
        else:
            _destroy_simulation(own)
    print(f"\nThe {own.name} stack is gone. make up{prepare.suffix()} makes a new, empty one.")
    return 0


def _destroy_on_this_machine(own: OwnStack) -> None:
    progress = Progress(prepare.STEPS_AS_IT_IS + 3)
    ready = prepare.as_it_is(own, progress)
    owned = owns_srv_root(ready)
    print(what_goes(ready, owned=owned))
    ask.confirm(ready.own.name, "delete all of it", command=f"make destroy{prepare.suffix()}")
    require_root_rights()
    if owned:
        # Read by the next run, if this one is cut off after pulumi has forgotten what the stack had made.
        begun(ready.own).touch()
    with progress.step("pulumi destroy") as step:
        _destroy_resources(ready, step)
        if owned:
            teardown.remove_unknown(ready)
            if containers.our_network(ready.engine):
                containers.remove_network(ready.engine)
    with progress.step("files") as step:
        step.result(_delete_files(ready.srv_root) if owned else "none of this stack's are there")
    with progress.step("stack, secrets and recorded choices"):
        _delete_stack(ready)


def _destroy_simulation(own: OwnStack) -> None:
    simulation.require_rights()
    progress = Progress(3)
    engine = prepare.docker_engine(progress, prepare.recorded_socket(own))
    print(
        _listed(
            [
                "the simulated cloud: its machine, its networks and its volumes",
                f"the stack '{own.name}', its secrets, its key and its history ({own.folder})",
            ]
        )
    )
    ask.confirm(own.name, "delete all of it", command=f"make destroy{prepare.suffix()}")
    # Without pulumi: whatever became of the machine, it goes with its cloud.
    with progress.step("machine and networks"):
        simulation.remove_machines(own, engine)
    with progress.step("stack, secrets, volumes and recorded choices"):
        shutil.rmtree(own.folder)


def begun(own: OwnStack) -> Path:
    """The file that says that this stack's resources were being deleted."""
    return own.folder / "destroy-begun"


def owns_srv_root(ready: Ready) -> bool:
    """Whether this checkout's stack has made what is in srvRoot; a stack of the same name in another checkout may have."""
    if srv_root.owner_of(ready.srv_root) not in ("", ready.own.name):
        return False
    if begun(ready.own).exists():
        return True
    return ready.own.in_backend() and state.read(ready.session).holds_tree()


def what_goes(ready: Ready, *, owned: bool) -> str:
    """The exact list, for a person to read before agreeing."""
    names = containers.ours(ready.engine, ready.srv_root) if owned else []
    network = owned and containers.our_network(ready.engine)
    lines = [
        f"containers {', '.join(names)}"
        if names
        else f"no container ({', '.join(CONTAINERS)} are gone already, or not this checkout's)",
        f"network {NETWORK}"
        if network
        else f"no network ({NETWORK} is gone already, or not this checkout's)",
    ]
    if owned:
        lines.append(f"{ready.srv_root} with all data and backups in it ({_size(ready.srv_root)})")
    else:
        lines.append(
            f"no files (the stack of this checkout has not made what is in {ready.srv_root}; where another checkout has, destroy it there)"
        )
    own = ready.own
    lines.append(f"the stack '{own.name}', its secrets and its history ({own.folder} and {own.backend})")
    return _listed(lines)


def _listed(lines: list[str]) -> str:
    return "\nThis deletes, for good:\n" + "\n".join(f"  - {line}" for line in lines) + "\n"


def _size(folder: Path) -> str:
    said = answer(as_root(["du", "-sh", "--", str(folder)]), timeout=600)
    return said.stdout.split()[0] if said.stdout.split() else "size unknown"


def _destroy_resources(ready: Ready, step: Step) -> None:
    if not ready.own.in_backend():
        return
    logged(
        ready.session.words("state", "unprotect", "--all", "--yes"),
        log="unprotect",
        failure="the stack's protection could not be lifted",
        environment=ready.session.environment,
    )
    teardown.destroy_known(ready, step, what="destroy")


def _delete_files(folder: Path) -> str:
    for names in (OURS, (srv_root.MARKER,)):
        logged(
            as_root(["rm", "-rf", "--", *(str(folder / name) for name in names)]),
            log="delete-files",
            failure=f"the files in {folder} could not all be deleted",
        )
    if folder == srv_root.SYSTEM_FOLDER:
        return f"the platform's are gone from {folder}, which every system has"
    # Only when empty: what else an operator put there stays.
    gone = answer(as_root(["rmdir", "--", str(folder)])).returncode == 0
    return (
        f"{folder} is gone"
        if gone
        else f"the platform's are gone from {folder}, which holds others or is in use"
    )


def _delete_stack(ready: Ready) -> None:
    own = ready.own
    if own.in_backend():
        logged(
            ready.session.words("stack", "rm", "--yes", "--preserve-config", "--remove-backups"),
            log="stack-rm",
            failure="the stack could not be removed",
            environment=ready.session.environment,
        )
    own.choices.forget()
    shutil.rmtree(own.home, ignore_errors=True)
    shutil.rmtree(own.backend, ignore_errors=True)
    # Last: with it goes the knowledge of what else was to be deleted.
    shutil.rmtree(own.folder)


if __name__ == "__main__":
    command(main)
