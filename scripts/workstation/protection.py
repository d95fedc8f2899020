"""The protection of a machine in OCI and of what ends with it: lifted for `make down`, and put back."""

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.workstation import state
from scripts.workstation.session import Session


@contextmanager
def unprotected(session: Session) -> Iterator[None]:
    """Let the machine be destroyed in the body; where it is still there afterwards, it is protected again."""
    before = state.read(session)
    machine = before.only(state.INSTANCE)
    urns = before.protected_with(machine) if machine else []
    if urns:
        state.write(session, before.with_protection(urns, protect=False))
    try:
        yield
    finally:
        if urns:
            after = state.read(session)
            left = {str(r["urn"]) for r in after.resources} & set(urns)
            if machine in left:
                state.write(session, after.with_protection(left, protect=True))
