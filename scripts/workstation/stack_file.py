"""The selected stack's file, for the commands that change what is in it."""

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.workstation import locks, prepare
from scripts.workstation.config_file import ConfigFile, of_stack
from scripts.workstation.progress import Progress
from scripts.workstation.session import Session
from scripts.workstation.trouble import Trouble


@contextmanager
def held(command: str) -> Iterator[ConfigFile]:
    """The file; where the stack is made here, no other command works on it meanwhile. Raises Trouble where the user has none."""
    own = prepare.own_stack()
    if own is not None:
        with locks.exclusive(own.lock, command, own.name):
            yield own.config
        return
    config = of_stack(prepare.selected_stack())
    if not config.exists():
        raise Trouble(
            f"{config.path} is not there; put it back from git, or run make init-prod{prepare.suffix()}, which makes it"
        )
    yield config


@contextmanager
def for_secrets(command: str) -> Iterator[tuple[ConfigFile, Session]]:
    """The file, and pulumi to encrypt into it."""
    with held(command) as config:
        own = prepare.own_stack()
        yield config, prepare.for_secrets(own, Progress(1)) if own else prepare.session(None)
