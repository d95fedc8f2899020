"""`make up`: bring the platform up, from wherever it is."""

from scripts.workstation import containers, locks, prepare, run_pulumi, stack
from scripts.workstation.choices import recorded
from scripts.workstation.paths import STATE
from scripts.workstation.prepare import Local
from scripts.workstation.progress import Progress
from scripts.workstation.shell import require_root_rights
from scripts.workstation.trouble import command


def main() -> int:
    """Up for the selected stack."""
    if not prepare.is_local():
        session = prepare.other_stack()
        return run_pulumi.attached(session, session.words("up"))
    require_root_rights()
    with locks.exclusive(STATE, "up"):
        progress = Progress(8)
        local = prepare.local_for_changes(progress)
        with progress.step("the stack and its secrets") as step:
            new = stack.initialise(local.session)
            generated = stack.generate_secrets(local.session)
            step.result(
                "new, its secrets generated and encrypted" if generated else "new" if new else "there already"
            )
        with progress.step("pulumi up") as step:
            lost = [] if new else containers.differing(stack.containers_in_state(local.session), local.engine)
            if lost:
                step.line(
                    f"{', '.join(lost)}: not running, or made again by docker compose; refreshing what pulumi knows first"
                )
            words = local.session.words("up", "--skip-preview", *(["--refresh"] if lost else []), config=True)
            run_pulumi.followed(local.session, words, step=step, what="up")
        print(_closing(local))
    return 0


def _closing(local: Local) -> str:
    """Where everything is, and what to try next."""
    outputs = run_pulumi.outputs(local.session)
    srv = local.srv_root
    environment = f"--env-file {srv}/config/platform.env"
    rows = [
        ("PostgreSQL", outputs.get("postgresAddress", "")),
        ("PgBouncer", outputs.get("pgbouncerAddress", "")),
        ("Redis", outputs.get("redisAddress", "")),
        ("secrets", f"{srv}/config/platform.env (root only)"),
        ("settings", str(stack.CONFIG)),
        ("try next", "make psql, make redis-cli, make status"),
        ("by compose", f"cd {srv}/apps/postgres-stack && sudo docker compose {environment} ps"),
    ]
    rows += [("stand-in", text) for text in stand_ins_in_use()]
    return "\n" + "\n".join(f"  {label:<11} {text}" for label, text in rows)


def stand_ins_in_use() -> list[str]:
    """A line for each part that is not the published one."""
    lines: list[str] = []
    if recorded("plugins") == "stand-ins":
        lines.append(
            "provider plugins of sandbox/providers, since the published ones could not be downloaded"
        )
    if recorded("images") == "stand-ins":
        lines.append(
            "images of sandbox/images from Debian packages (Redis as Debian has it), since no registry answered"
        )
    return lines


if __name__ == "__main__":
    command(main)
