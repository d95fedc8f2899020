"""`make up`: bring the platform up, from wherever it is."""

import sys
from collections.abc import Mapping
from typing import Any

from scripts.workstation import (
    applications,
    confirmed_up,
    containers,
    locks,
    prepare,
    run_pulumi,
    state,
    target,
)
from scripts.workstation.prepare import Ready
from scripts.workstation.progress import Progress
from scripts.workstation.shell import require_root_rights
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble, command

# The stack with its secrets, pulumi, and how the containers are.
OWN_STEPS = 3


def main() -> int:
    """Up for the selected stack; further words go to pulumi, such as --refresh, which finds what was changed by hand."""
    own = prepare.own_stack()
    if own is None:
        session = prepare.users_session_for_changes()
        return confirmed_up.up(session, sys.argv[1:])
    require_root_rights()
    with locks.exclusive(own.lock, "up", own.name):
        progress = Progress(prepare.STEPS_FOR_CHANGES[own.name] + OWN_STEPS)
        bring_up(prepare.for_changes(own, progress), progress, *sys.argv[1:])
    return 0


def bring_up(ready: Ready, progress: Progress, *options: str, what: str = "up") -> None:
    """The last three steps for a stack that is made here, then where everything is."""
    with progress.step("the stack and its secrets") as step:
        new = ready.own.initialise(ready.session)
        generated = ready.own.generate_secrets(ready.session)
        made = (
            f"generated and encrypted: {applications.described(generated)}" if generated else "there already"
        )
        step.result(
            "new, its secrets generated and encrypted" if new and generated else "new" if new else made
        )
    # The steps before may have taken longer than sudo remembers.
    require_root_rights()
    with progress.step("pulumi up") as step:
        lost = [] if new or not ready.own.on_this_machine else _lost(ready)
        if lost:
            step.line(
                f"{', '.join(lost)}: not running, or made again by docker compose; refreshing what pulumi knows first"
            )
        refresh = ["--refresh"] if lost and "--refresh" not in options else []
        words = ready.session.words("up", "--skip-preview", *options, *refresh, config=True)
        run_pulumi.followed(ready.session, words, step=step, what=what)
    outputs = run_pulumi.outputs(ready.session)
    with progress.step("the containers' health") as step:
        if fault := containers.fault(_docker(ready, outputs)):
            raise Trouble(
                f"pulumi has finished, but {fault}; make status{prepare.suffix()} shows all of them"
            )
        step.result("all healthy")
    print(closing(ready.own, outputs))


def _lost(ready: Ready) -> list[str]:
    return containers.differing(state.containers(state.read(ready.session)), ready.engine)


def _docker(ready: Ready, outputs: Mapping[str, Any]) -> containers.Docker:
    if ready.own.on_this_machine:
        return ready.engine.docker
    return target.of_outputs(ready.session, outputs).docker


def closing(own: OwnStack, outputs: Mapping[str, Any]) -> str:
    """Where everything is, and what to try next."""
    srv = outputs.get("srvRoot", "/srv")
    at, end = prepare.suffix(), "" if own.on_this_machine else " on the machine"
    environment = f"--env-file {srv}/config/platform.env"
    rows = [
        ("PostgreSQL", outputs.get("postgresAddress", "")),
        ("PgBouncer", outputs.get("pgbouncerAddress", "")),
        ("Redis", outputs.get("redisAddress", "")),
        ("secrets", f"{srv}/config/platform.env (root only){end}"),
        ("settings", str(own.config.path)),
        ("try next", f"make psql{at}, make redis-cli{at}, make status{at}"),
    ]
    if own.on_this_machine:
        rows.append(("by compose", f"cd {srv}/apps/postgres-stack && sudo docker compose {environment} ps"))
    else:
        rows.append(("from here", f"make tunnel{at}"))
        rows.append(("simulated", "OCI, and the machine: a container with an engine of its own (sandbox/)"))
    rows += [("stand-in", text) for text in stand_ins_in_use(own)]
    return "\n" + "\n".join(f"  {label:<11} {text}" for label, text in rows)


def stand_ins_in_use(own: OwnStack) -> list[str]:
    """A line for each part that is not the published one."""
    lines: list[str] = []
    if own.choices.recorded("plugins") == "stand-ins":
        lines.append(
            "provider plugins of sandbox/providers, since the published ones could not be downloaded"
        )
    if own.choices.recorded("images") == "stand-ins":
        lines.append(
            "images of sandbox/images from Debian packages (Redis as Debian has it), since no registry answered"
        )
    return lines


if __name__ == "__main__":
    command(main)
