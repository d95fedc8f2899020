"""`make drop-application`: delete for good what an application that is no longer in the settings has left on the host."""

import os

from components.application_settings import APPLICATION_PASSWORDS
from scripts.workstation import applications, ask, prepare, stack_file, target
from scripts.workstation.config_file import PROJECT, ConfigFile
from scripts.workstation.target import Target
from scripts.workstation.trouble import Trouble, command

SCRIPT = "drop-application.sh"


def main() -> int:
    """Ask, then delete; the host's script refuses too while the application is in the settings that were last brought up."""
    name = os.environ.get("NAME", "")
    if not name:
        raise Trouble("NAME is missing; say make drop-application NAME=… with the name of the application")
    applications.require_name(name)
    with stack_file.held("drop-application") as config:
        _require_removed(config, name)
        host = target.find()
        print(_what_goes(config, name, host))
        ask.confirm(
            name,
            "delete all of it",
            command=f"make drop-application NAME={name}{prepare.suffix()}",
            of="application",
        )
        if code := target.run_script(host, SCRIPT, [name, "--yes"]):
            return code
        if config.value(APPLICATION_PASSWORDS, name) is not None:
            config.remove(APPLICATION_PASSWORDS, name)
    print(f"Application {name} is gone from stack {host.stack}.")
    return 0


def _require_removed(config: ConfigFile, name: str) -> None:
    if name in applications.entries(config):
        at = prepare.suffix()
        raise Trouble(
            f"application {name} is in the settings; take its entry out of {PROJECT}:applications in {config.path}, run make up{at}, "
            f"which closes its access, and then make drop-application NAME={name}{at} again"
        )


def _what_goes(config: ConfigFile, name: str, host: Target) -> str:
    lines = [
        f"the database of application {name} on the host of stack {host.stack}, with all that is in it",
        "its roles in PostgreSQL",
        f"its keys in Redis ({name}:*)",
    ]
    if config.value(APPLICATION_PASSWORDS, name) is not None:
        lines.append(f"its passwords in {config.path}")
    listed = "\n".join(f"  - {line}" for line in lines)
    return f"\nThis deletes, for good:\n{listed}\nFiles in {host.srv_root}/apps/{name} stay.\n"


if __name__ == "__main__":
    command(main)
