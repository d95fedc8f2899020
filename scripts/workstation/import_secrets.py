"""`make import-secrets`: read platform.env back into a stack, after its state or configuration was lost."""

import os
import subprocess
import sys
from pathlib import Path

from scripts.workstation import env_file, locks, prepare, stack
from scripts.workstation.paths import ROOT, STATE
from scripts.workstation.progress import Progress
from scripts.workstation.session import Session
from scripts.workstation.shell import answer, read_as_root
from scripts.workstation.trouble import Trouble, command

KEYS = {
    "POSTGRES_PASSWORD": "postgresPassword",
    "PGBOUNCER_AUTH_PASSWORD": "pgbouncerAuthPassword",
    "REDIS_ADMIN_PASSWORD": "redisAdminPassword",
}


def main() -> int:
    """FILE names another file than the stack's own platform.env; - is standard input."""
    if prepare.is_local():
        with locks.exclusive(STATE, "import-secrets"):
            session = prepare.local_stack_only(Progress(1))
            source = _source() or Path(stack.settings()["srvRoot"]) / "config" / "platform.env"
            values = _wanted(source)
            if not stack.has_secret("saltKey"):
                values["saltKey"] = stack.generate(stack.SECRET_LENGTHS["saltKey"])
            stack.set_secrets(session, values)
    else:
        session = prepare.other_stack()
        source = _source()
        if source is None:
            raise Trouble(
                f"the platform.env of stack {session.stack} is on its host; hand it over, for example: "
                f"ssh HOST sudo cat /srv/config/platform.env | make import-secrets STACK={session.stack} FILE=-"
            )
        values = _wanted(source)
        if answer(session.words("config", "get", "saltKey"), environment=session.environment).returncode:
            values["saltKey"] = stack.generate(stack.SECRET_LENGTHS["saltKey"])
        _set(session, values)
    print(
        f"{', '.join(values)} of stack {session.stack} are set from {source}; next: make preview, then make up"
    )
    return 0


def _source() -> Path | None:
    name = os.environ.get("FILE")
    return Path(name) if name else None


def _wanted(source: Path) -> dict[str, str]:
    text = sys.stdin.read() if str(source) == "-" else read_as_root(source)
    if text is None:
        raise Trouble(
            f"{source} is not there; name the file that holds the secrets: make import-secrets FILE=…"
        )
    try:
        found = env_file.parse(text)
    except env_file.NotOurForm as fault:
        raise Trouble(f"{source}: {fault}; correct that line, then run make import-secrets again") from None
    missing = [name for name in KEYS if not found.get(name)]
    if missing:
        raise Trouble(
            f"{source} has no {', '.join(missing)}; add the missing lines, then run make import-secrets again"
        )
    return {key: found[name] for name, key in KEYS.items()}


def _set(session: Session, values: dict[str, str]) -> None:
    for key, value in values.items():
        ran = subprocess.run(
            session.words("config", "set", "--secret", f"{stack.PROJECT}:{key}"),
            env=session.environment,
            cwd=ROOT,
            input=value,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise Trouble(f"the secret {key} of stack {session.stack} could not be set", ran.returncode)


if __name__ == "__main__":
    command(main)
