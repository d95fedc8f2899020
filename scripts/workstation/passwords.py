"""`make passwords`: generate the passwords that the applications of a stack's settings lack."""

from pathlib import Path

from scripts.workstation import applications, encryption, prepare, stack_file
from scripts.workstation.trouble import command


def main() -> int:
    """Those that are there stay as they are."""
    with stack_file.for_secrets("passwords") as (config, session):
        values = applications.generated(applications.missing(config))
        encryption.set_secrets(config, session, values)
        print(_said(config.path, session.stack, list(values), any(applications.entries(config))))
    return 0


def _said(file: Path, stack: str, paths: list[encryption.SecretPath], named: bool) -> str:
    if paths:
        at = prepare.suffix()
        return f"generated, and encrypted in {file}: {applications.described(paths)}; next: make preview{at}, then make up{at}"
    if named:
        return f"nothing to do: the applications of stack {stack} have all their passwords"
    return f"nothing to do: the settings of stack {stack} ({file}) name no applications"


if __name__ == "__main__":
    command(main)
