"""Removing what the local stack has made, for `make down` and `make destroy`."""

from scripts.workstation import containers, run_pulumi, stack
from scripts.workstation.prepare import Local
from scripts.workstation.progress import Step


def destroy_known(local: Local, step: Step, *options: str, what: str) -> None:
    """`pulumi destroy`, with a refresh first where Docker has other containers than the state says."""
    lost = containers.differing(stack.containers_in_state(local.session), local.engine)
    words = local.session.words(
        "destroy", *options, "--skip-preview", *(["--refresh"] if lost else []), config=True
    )
    run_pulumi.followed(local.session, words, step=step, what=what)


def remove_unknown(local: Local) -> None:
    """Remove the platform's containers that compose made again, of which pulumi does not know."""
    containers.remove(local.engine, containers.ours(local.engine, local.srv_root))
