"""`make import-secrets`: read platform.env back into a stack, after its state or configuration was lost."""

import os
import sys
from pathlib import Path

from scripts.workstation import config_file, env_file, locks, prepare, secret_values
from scripts.workstation.config_file import ConfigFile
from scripts.workstation.progress import Progress
from scripts.workstation.shell import read_as_root
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble, command

KEYS = {
    "POSTGRES_PASSWORD": "postgresPassword",
    "PGBOUNCER_AUTH_PASSWORD": "pgbouncerAuthPassword",
    "REDIS_ADMIN_PASSWORD": "redisAdminPassword",
}


def main() -> int:
    """FILE names another file than the stack's own platform.env; - is standard input."""
    own = prepare.own_stack()
    if own is not None:
        with locks.exclusive(own.lock, "import-secrets", own.name):
            session = prepare.for_secrets(own, Progress(1))
            source = _source(own)
            own.config.set_secrets(session, _with_salt_key(own.config, _wanted(source)))
    else:
        session = prepare.session(None)
        config = config_file.of_stack(session.stack)
        source = _source(None)
        config.set_secrets(session, _with_salt_key(config, _wanted(source)))
    print(
        f"{', '.join(KEYS.values())} of stack {session.stack} are set from {source}; next: make preview{prepare.suffix()}, "
        f"then make up{prepare.suffix()}"
    )
    return 0


def _source(own: OwnStack | None) -> Path:
    if name := os.environ.get("FILE"):
        return Path(name)
    if own is not None and own.on_this_machine:
        return Path(own.config.settings()["srvRoot"]) / "config" / "platform.env"
    stack = prepare.selected_stack()
    raise Trouble(
        f"the platform.env of stack {stack} is on its host; hand it over, for example: "
        f"ssh HOST sudo cat /srv/config/platform.env | make import-secrets STACK={stack} FILE=-"
    )


def _with_salt_key(config: ConfigFile, values: dict[str, str]) -> dict[str, str]:
    """With a new key for salts, which platform.env does not hold, where the stack has none."""
    return values if config.has_secret("saltKey") else values | secret_values.generated(["saltKey"])


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


if __name__ == "__main__":
    command(main)
