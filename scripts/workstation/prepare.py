"""The steps that come before pulumi: toolchain, engine, plugins, images and the stack."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.workstation import compose_plugin, engine, images, locks, plugins, preflight, stack, toolchain
from scripts.workstation.choices import recorded
from scripts.workstation.engine import Engine
from scripts.workstation.paths import ROOT
from scripts.workstation.progress import Progress
from scripts.workstation.session import Session, executable, local_session, remote_session
from scripts.workstation.toolchain import Toolchain


@dataclass(frozen=True, kw_only=True)
class Local:
    """The local stack, ready for pulumi."""

    session: Session
    engine: Engine
    settings: dict[str, Any]

    @property
    def srv_root(self) -> Path:
        """Where the platform's files are."""
        return Path(self.settings["srvRoot"])


def selected_stack() -> str:
    """The stack that the operator means: STACK, or local."""
    return os.environ.get("STACK") or stack.NAME


def is_local() -> bool:
    """Whether it is the one stack that is made here."""
    return selected_stack() == stack.NAME


def recorded_socket() -> str | None:
    """The engine on which the local stack is, once it has resources there."""
    if not stack.CONFIG.exists() or not stack.in_backend():
        return None
    return (stack.settings().get("host") or {}).get("socket")


def tools(progress: Progress) -> Toolchain:
    """The step that finds or makes pulumi."""
    with progress.step("Pulumi toolchain") as step:
        return toolchain.find_or_make(step)


def docker_engine(progress: Progress) -> Engine:
    """The step that finds or starts the engine."""
    with progress.step("Docker engine") as step:
        return engine.find_or_start(step, recorded_socket())


def compose(progress: Progress, found: Engine) -> None:
    """The step that finds or installs docker compose."""
    with progress.step("docker compose") as step:
        compose_plugin.find_or_install(step, found)


def other_stack() -> Session:
    """pulumi for a stack of the user's own backend; nothing local is made."""
    found = tools(Progress(1, sys.stderr))
    return remote_session(selected_stack(), found)


def local_for_changes(progress: Progress) -> Local:
    """All that `up` and `preview` need, in six steps; what is in the way is found before anything is made."""
    found_tools = tools(progress)
    found_engine = docker_engine(progress)
    compose(progress, found_engine)
    with progress.step("what is in the way") as step:
        stack.make_folders()
        _settle_host(found_engine)
        settings = stack.settings()
        preflight.check(settings, found_engine)
        preflight.check_secrets(Path(settings["srvRoot"]))
        step.result(f"nothing; the platform's files go to {settings['srvRoot']}")
    with progress.step("provider plugins") as step:
        plugins.choose(step, executable(found_tools), "local")
    with progress.step("images") as step:
        catalogue = images.provide(step, found_engine)
    stack.change_settings({"imageCatalogue": _relative(catalogue)})
    return _open(progress, found_tools, found_engine)


def local_as_it_is(progress: Progress) -> Local:
    """What `down` and `destroy` need, in three steps: nothing is built or downloaded for them but a missing tool."""
    found_tools = tools(progress)
    found_engine = docker_engine(progress)
    stack.make_folders()
    _settle_host(found_engine)
    with progress.step("provider plugins") as step:
        plugins.choose(step, executable(found_tools), "local")
    return _open(progress, found_tools, found_engine)


def local_stack_only(progress: Progress) -> Session:
    """A stack that can take secrets, in one step: neither engine nor plugins are needed for that."""
    found_tools = tools(progress)
    stack.make_folders()
    session = _session(found_tools, engine.current_socket())
    stack.initialise(session)
    return session


def _open(progress: Progress, found_tools: Toolchain, found_engine: Engine) -> Local:
    session = _session(found_tools, found_engine.socket)
    locks.clear_stale(session, stack.BACKEND, stack.PROJECT, progress)
    return Local(session=session, engine=found_engine, settings=stack.settings())


def _session(found_tools: Toolchain, socket: str) -> Session:
    return local_session(
        stack.NAME,
        found_tools,
        backend=stack.BACKEND,
        passphrase=stack.PASSPHRASE,
        config_file=stack.CONFIG,
        docker_host=socket,
        stand_in_home=plugins.STAND_IN_HOME if recorded("plugins") == "stand-ins" else None,
    )


def _settle_host(found_engine: Engine) -> None:
    """Write down the engine in use."""
    settings = stack.settings()
    host = {
        **(settings.get("host") or {}),
        "kind": "local",
        "socket": found_engine.socket,
        "sudo": os.geteuid() != 0,
    }
    stack.change_settings({"host": host})


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
