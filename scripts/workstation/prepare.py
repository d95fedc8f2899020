"""The steps that come before pulumi: toolchain, engine, plugins, images and the stack."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.workstation import (
    compose_plugin,
    engine,
    images,
    locks,
    placeholders,
    plugins,
    preflight,
    simulation,
    ssh,
    stack,
    toolchain,
)
from scripts.workstation.config_file import PROJECT, of_stack
from scripts.workstation.engine import Engine
from scripts.workstation.paths import ROOT
from scripts.workstation.progress import Progress
from scripts.workstation.session import Session, executable, own_session, remote_session
from scripts.workstation.shell import require_program
from scripts.workstation.stack import LOCAL, OwnStack
from scripts.workstation.toolchain import Toolchain

# How many steps `for_changes` and `as_it_is` show.
STEPS_FOR_CHANGES = {"local": 6, "prod-sim": 7}
STEPS_AS_IT_IS = 3


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A stack that is made here, ready for pulumi."""

    own: OwnStack
    session: Session
    engine: Engine
    settings: dict[str, Any]

    @property
    def srv_root(self) -> Path:
        """Where the platform's files are."""
        return Path(self.settings["srvRoot"])


def selected_stack() -> str:
    """The stack that the operator means: STACK, or local."""
    return os.environ.get("STACK") or LOCAL.name


def own_stack() -> OwnStack | None:
    """The selected stack, if it is one that is made here."""
    return stack.OWN.get(selected_stack())


def suffix() -> str:
    """What to write behind a make command for the selected stack."""
    return "" if selected_stack() == LOCAL.name else f" STACK={selected_stack()}"


def recorded_socket(own: OwnStack) -> str | None:
    """The engine on which the stack is, once it has resources there."""
    if not own.config.exists() or not own.in_backend():
        return None
    if not own.on_this_machine:
        return simulation.recorded_socket(own)
    return own.config.host().get("socket")


def tools(progress: Progress) -> Toolchain:
    """The step that finds or makes pulumi."""
    with progress.step("Pulumi toolchain") as step:
        return toolchain.find_or_make(step)


def docker_engine(progress: Progress, recorded: str | None = None) -> Engine:
    """The step that finds or starts the engine."""
    with progress.step("Docker engine") as step:
        return engine.find_or_start(step, recorded)


def compose(progress: Progress, found: Engine) -> None:
    """The step that finds or installs docker compose."""
    with progress.step("docker compose") as step:
        compose_plugin.find_or_install(step, found)


def session(own: OwnStack | None) -> Session:
    """pulumi for the selected stack as it is, for a question or for a stack of the user's own backend; nothing is made."""
    found = tools(Progress(1, sys.stderr))
    if own is None:
        return remote_session(selected_stack(), found)
    return _session(own, found, recorded_socket(own) or engine.current_socket())


def users_session_for_changes() -> Session:
    """pulumi for a change of a stack of the user's own backend, whose file is filled in."""
    placeholders.require_none(of_stack(selected_stack()), selected_stack())
    ssh.require()
    return session(None)


def for_changes(own: OwnStack, progress: Progress) -> Ready:
    """All that `up` and `preview` need; what is in the way is found before anything is made."""
    return (
        _simulation_for_changes(own, progress)
        if not own.on_this_machine
        else _local_for_changes(own, progress)
    )


def _local_for_changes(own: OwnStack, progress: Progress) -> Ready:
    found_tools = tools(progress)
    found_engine = docker_engine(progress, recorded_socket(own))
    compose(progress, found_engine)
    with progress.step("what is in the way") as step:
        # The platform's certificates are made where the platform is.
        require_program("openssl", "openssl")
        own.make_folders()
        _settle_host(own, found_engine)
        settings = own.config.settings()
        preflight.check(settings, found_engine, own)
        preflight.check_secrets(Path(settings["srvRoot"]), own)
        step.result(f"nothing; the platform's files go to {settings['srvRoot']}")
    with progress.step("provider plugins") as step:
        plugins.choose(step, executable(found_tools), own.choices, own.home)
    _provide_images(own, progress, found_engine)
    return _open(own, progress, found_tools, found_engine)


def _simulation_for_changes(own: OwnStack, progress: Progress) -> Ready:
    found_tools = tools(progress)
    found_engine = docker_engine(progress, recorded_socket(own))
    compose(progress, found_engine)
    with progress.step("settings and key") as step:
        own.make_folders()
        simulation.settle(own, found_engine)
        step.result(f"{own.config.path}")
    with progress.step("provider plugins") as step:
        plugins.simulate(step, executable(found_tools), own.choices, own.home)
    _provide_images(own, progress, found_engine)
    with progress.step("the simulated machine") as step:
        simulation.provide_machine(step, found_engine)
    return _open(own, progress, found_tools, found_engine)


def as_it_is(own: OwnStack, progress: Progress) -> Ready:
    """What `down` and `destroy` need: nothing is built or downloaded for them but a missing tool."""
    found_tools = tools(progress)
    found_engine = docker_engine(progress, recorded_socket(own))
    own.make_folders()
    if own.on_this_machine:
        _settle_host(own, found_engine)
    else:
        simulation.settle(own, found_engine)
    with progress.step("provider plugins") as step:
        choose = plugins.choose if own.on_this_machine else plugins.simulate
        choose(step, executable(found_tools), own.choices, own.home)
    return _open(own, progress, found_tools, found_engine)


def for_secrets(own: OwnStack, progress: Progress) -> Session:
    """A stack that can take secrets, in one step: neither engine nor plugins are needed for that."""
    found_tools = tools(progress)
    own.make_folders()
    made = _session(own, found_tools, engine.current_socket())
    own.initialise(made)
    return made


def _provide_images(own: OwnStack, progress: Progress, found_engine: Engine) -> None:
    with progress.step("images") as step:
        catalogue = images.provide(step, found_engine, own.choices)
    own.config.change_settings({"imageCatalogue": _relative(catalogue)})


def _open(own: OwnStack, progress: Progress, found_tools: Toolchain, found_engine: Engine) -> Ready:
    made = _session(own, found_tools, found_engine.socket)
    locks.clear_stale(made, own.backend, PROJECT, progress)
    return Ready(own=own, session=made, engine=found_engine, settings=own.config.settings())


def _session(own: OwnStack, found_tools: Toolchain, docker_host: str) -> Session:
    simulated = not own.on_this_machine
    return own_session(
        own.name,
        found_tools,
        backend=own.backend,
        passphrase=own.passphrase,
        config_file=own.config.path,
        docker_host=docker_host,
        home=own.home if simulated or own.choices.recorded("plugins") == "stand-ins" else None,
        further=simulation.environment(own) if simulated else None,
    )


def _settle_host(own: OwnStack, found_engine: Engine) -> None:
    """Write down the engine in use."""
    host = {
        **own.config.host(),
        "kind": "local",
        "socket": found_engine.socket,
        "sudo": os.geteuid() != 0,
    }
    own.config.change_settings({"host": host})


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
