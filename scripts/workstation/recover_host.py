"""`make recover-host`: a new machine in the place of one in OCI that is lost or broken; its data volume and address stay."""

import os
from datetime import UTC, datetime
from pathlib import Path

from scripts.workstation import ask, atomic, config_file, locks, prepare, run_pulumi, state, target, up
from scripts.workstation.config_file import ConfigFile
from scripts.workstation.paths import ROOT, STATE
from scripts.workstation.progress import Progress, Step
from scripts.workstation.session import Session
from scripts.workstation.shell import answer, logged, require_root_rights
from scripts.workstation.stack import OwnStack
from scripts.workstation.state import State
from scripts.workstation.target import There
from scripts.workstation.trouble import Trouble, command

RELEASE = ROOT / "scripts" / "host" / "release-data.sh"
RELEASE_SECONDS = 150
# Those of _give_up.
OWN_STEPS = 3

_PLAN = """
The machine of stack {stack} is replaced by a new one:
  - pulumi forgets what was on the old machine (containers, files, Docker's connection), {known} resources, and tries out
    what it would do; where it could not, everything stays as it is;
  - the old machine, if it answers, is asked to stop its containers and to let /srv go;
  - pulumi up removes the old machine, makes a new one, and brings the platform up on the same data volume.
The data volume, the public address and the bucket stay. What is on the old machine outside /srv is lost.
"""


def main() -> int:
    """Ask, then recover. Every step may be repeated, so one that was cut off is run again."""
    own = prepare.own_stack()
    if own is None:
        session = prepare.users_session_for_changes()
        _require_machine(session)
        _require_no_fixed_key(config_file.of_stack(session.stack))
        return _recover_users(session)
    require_simulated(own)
    require_root_rights()
    with locks.exclusive(own.lock, "recover-host", own.name):
        _require_no_fixed_key(own.config)
        progress = Progress(prepare.STEPS_FOR_CHANGES[own.name] + OWN_STEPS + up.OWN_STEPS)
        ready = prepare.for_changes(own, progress)
        before = _require_machine(ready.session)
        _ask(before, own.name)
        options = _give_up(ready.session, progress)
        up.bring_up(ready, progress, *options, what="recover-host")
    return 0


def require_simulated(own: OwnStack) -> None:
    """Raises Trouble for a stack that is made here and has no machine in a simulated OCI."""
    if own.on_this_machine or not own.in_backend():
        raise Trouble(no_machine(own.name))


def no_machine(stack: str) -> str:
    """The sentence for a stack without a machine in OCI."""
    return (
        f"stack {stack} has no machine in OCI; recover-host and trust-host are for stacks whose host is one"
    )


def _require_machine(session: Session) -> State:
    before = state.read(session)
    # A run that was cut off may have left the state without the machine itself.
    if not any(str(r.get("type")).startswith(("oci:", "pulumi:providers:oci")) for r in before.resources):
        raise Trouble(no_machine(session.stack))
    return before


def _recover_users(session: Session) -> int:
    _ask(state.read(session), session.stack)
    options = _give_up(session, Progress(OWN_STEPS))
    return run_pulumi.attached(session, session.words("up", "--yes", *options))


def _require_no_fixed_key(config: ConfigFile) -> None:
    if config.host().get("hostKey"):
        raise Trouble(
            f"host.hostKey in {config.path.name} is the key of the old machine, and the new one will have another; remove it, "
            "and the new machine's is read from its console"
        )


def _give_up(session: Session, progress: Progress) -> list[str]:
    """Give the old machine up, as soon as it is known that there can be a new one. Returns the options of `up`."""
    with progress.step("what OCI still has of it") as step:
        _look(session, step)
    with progress.step("pulumi's state, and a preview") as step:
        options = _forget(session, step)
    with progress.step("the old machine") as step:
        _release(session, step)
    return options


def _look(session: Session, step: Step) -> None:
    """Ask OCI, and only OCI: no question to the machine, which may be dead. What is gone leaves the state."""
    known = state.read(session)
    urns = [str(r["urn"]) for kind in (state.INSTANCE, state.ATTACHMENT) for r in known.of_type(kind)]
    if urns:
        targets = [word for urn in urns for word in ("--target", urn)]
        logged(
            session.words("refresh", "--yes", "--skip-preview", "--non-interactive", *targets, config=True),
            log="refresh-machine",
            failure="OCI could not be asked about the machine, and nothing was changed",
            environment=session.environment,
            cwd=ROOT,
        )
    there = state.read(session).only(state.INSTANCE) is not None
    step.result("the machine is there" if there else "the machine is gone")


def _ask(before: State, stack: str) -> None:
    known = sum(state.is_on_a_host(resource) for resource in before.resources)
    print(_PLAN.format(stack=stack, known=known))
    ask.confirm(stack, "replace the machine", command=f"make recover-host STACK={stack}")


def _release(session: Session, step: Step) -> None:
    """Let the old machine stop cleanly, if it can; one that cannot must not hold up its own end."""
    try:
        host = target.of_outputs(session, run_pulumi.outputs(session))
    except Trouble:
        step.result("pulumi does not know how to reach it")
        return
    if not isinstance(host, There):
        step.result("there is none to ask")
        return
    script = ["sudo", "-n", "sh", "-c", RELEASE.read_text(encoding="utf-8"), RELEASE.name, str(host.srv_root)]
    step.expect(f"asking it to let its data go ({RELEASE_SECONDS} s at most)")
    said = answer(host.ssh.line(script), timeout=RELEASE_SECONDS)
    if said.returncode == 0:
        step.result("its containers are stopped and its data is let go")
    else:
        lines = said.stderr.strip().splitlines()
        step.result(
            f"it did not let its data go ({lines[-1].rstrip('.;') if lines else 'it said nothing'}); going on without"
        )


def _forget(session: Session, step: Step) -> list[str]:
    """Take out of the state what was on the machine. Returns the options with which `up` makes another one."""
    before = state.read(session)
    copy = _keep_copy(session.stack, before)
    machine = before.only(state.INSTANCE)
    after = before.without(state.is_on_a_host)
    if machine:
        after = after.with_protection(after.protected_with(machine), protect=False)
    options = ["--replace", machine] if machine else []
    state.write(session, after)
    try:
        logged(
            session.words("preview", "--non-interactive", *options, config=True),
            log="preview-recover-host",
            failure="a new machine could not be made, so the old one stays as it is",
            environment=session.environment,
            cwd=ROOT,
        )
    except Trouble:
        state.write(session, before)
        raise
    step.result(f"the one before is kept in {copy}")
    return options


def _keep_copy(stack: str, before: State) -> Path:
    """The state as it is now, for its owner alone; secrets in it are encrypted."""
    folder = STATE / stack
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"state-before-recover-host-{stamp}-{os.getpid()}.json"
    atomic.write(path, before.text(), 0o600)
    return path


if __name__ == "__main__":
    command(main)
