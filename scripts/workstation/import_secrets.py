"""`make import-secrets`: read platform.env back into a stack, after its state or configuration was lost."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.render.env_file import LINES, OPTIONAL_LINES
from scripts.workstation import applications, encryption, env_file, prepare, secret_values, stack_file
from scripts.workstation.config_file import PROJECT, ConfigFile, SecretPath
from scripts.workstation.shell import read_as_root
from scripts.workstation.stack import OwnStack
from scripts.workstation.trouble import Trouble, command

# How the lines of the applications' passwords begin.
APPLICATIONS = "APP_"


def main() -> int:
    """FILE names another file than the stack's own platform.env; - is standard input."""
    with stack_file.for_secrets("import-secrets") as (config, session):
        source = _source(prepare.own_stack())
        found = _read(source)
        lines = _lines(config)
        values = {path: found[name] for name, path in lines.items() if found.get(name)}
        print(
            f"read from {'standard input' if str(source) == '-' else source}: {applications.described(values)}"
        )
        if not config.has_secret("saltKey"):
            # platform.env does not hold it.
            values |= secret_values.generated(["saltKey"])
        encryption.set_secrets(config, session, values)
        for sentence in _left(config, found.keys() - lines.keys()):
            print(sentence)
        at = prepare.suffix()
        print(f"the secrets of stack {session.stack} are set; next: make preview{at}, then make up{at}")
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


def _lines(config: ConfigFile) -> dict[str, SecretPath]:
    """What each line of platform.env is in the stack's file."""
    applications.require_separate(config)
    lines: dict[str, SecretPath] = {name: (key,) for name, key in (LINES | OPTIONAL_LINES).items()}
    for application in applications.named_in(config):
        for store in application.stores:
            name = application.secret_name("DB" if store == "database" else "REDIS")
            lines[name] = applications.password_path(application.name, store)
    return lines


def _left(config: ConfigFile, unknown: Iterable[str]) -> Iterator[str]:
    """What could not be taken from the file, and what the file did not have."""
    if others := sorted(name for name in unknown if name.startswith(APPLICATIONS)):
        yield (
            f"left out, since {PROJECT}:applications in {config.path} names no application that has them: {', '.join(others)}; "
            "write its entry there and run make import-secrets again before make up, which takes them out of platform.env"
        )
    if absent := [applications.password_path(a.name, store) for a, store in applications.missing(config)]:
        yield f"not there: {applications.described(absent)}; make passwords{prepare.suffix()} generates them"


def _read(source: Path) -> dict[str, str]:
    """The values of the file's lines, the platform's own among them."""
    text = sys.stdin.read() if str(source) == "-" else read_as_root(source)
    if text is None:
        raise Trouble(
            f"{source} is not there; name the file that holds the secrets: make import-secrets FILE=…"
        )
    try:
        found = env_file.parse(text)
    except env_file.NotOurForm as fault:
        raise Trouble(f"{source}: {fault}; correct that line, then run make import-secrets again") from None
    missing = [name for name in LINES if not found.get(name)]
    if missing:
        raise Trouble(
            f"{source} has no {', '.join(missing)}; add the missing lines, then run make import-secrets again"
        )
    return found


if __name__ == "__main__":
    command(main)
