"""Removing what a stack that is made here has made, for `make down` and `make destroy`."""

from scripts.workstation import containers, run_pulumi, state
from scripts.workstation.prepare import Ready
from scripts.workstation.progress import Step


def destroy_known(ready: Ready, step: Step, *options: str, what: str) -> None:
    """`pulumi destroy`, with a refresh first where Docker has other containers than the state says."""
    known = state.containers(state.read(ready.session)) if ready.own.on_this_machine else {}
    refresh = ["--refresh"] if containers.differing(known, ready.engine) else []
    words = ready.session.words("destroy", *options, "--skip-preview", *refresh, config=True)
    run_pulumi.followed(ready.session, words, step=step, what=what)


def remove_unknown(ready: Ready) -> None:
    """Remove the platform's containers that compose made again, of which pulumi does not know."""
    containers.remove(ready.engine, containers.ours(ready.engine, ready.srv_root))
