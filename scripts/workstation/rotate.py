"""`make rotate`: new generated passwords for an application, or one for the platform itself; the next `up` brings them in."""

import os

from scripts.workstation import applications, encryption, prepare, secret_values, stack_file
from scripts.workstation.applications import Account, Application
from scripts.workstation.config_file import ConfigFile, SecretPath
from scripts.workstation.trouble import Trouble, command

SALT_KEY = "saltKey"
# What is encrypted with the backups' key can only be read with it.
OF_THE_PLATFORM = tuple(key for key in secret_values.LENGTHS if key not in (SALT_KEY, "backupKey"))


def main() -> int:
    """NAME says whose; STORE, database or redis, which of an application's two."""
    name, store = os.environ.get("NAME", ""), os.environ.get("STORE", "")
    if name == SALT_KEY:
        raise Trouble(
            "saltKey is not rotated here: Redis would refuse the next `up` until docker restart redis-cache (docs/manual.md); "
            f"NAME may be {', '.join(OF_THE_PLATFORM)} or an application"
        )
    with stack_file.for_secrets("rotate") as (config, session):
        values = new_values(config, name, store)
        encryption.set_secrets(config, session, values)
        print(
            f"new, and encrypted in {config.path}: {applications.described(values)}; next: make up{prepare.suffix()}"
        )
        if waiver := _waiver_to_remove(config, values):
            print(waiver)
    return 0


def new_values(config: ConfigFile, name: str, store: str) -> dict[SecretPath, str]:
    """The secrets to set. Raises Trouble where NAME or STORE is nothing of this stack's."""
    if name in OF_THE_PLATFORM:
        return _platform_value(config, name, store)
    named = {application.name: application for application in applications.named_in(config)}
    if name not in named:
        known = ", ".join([*named, *OF_THE_PLATFORM])
        problem = (
            f"{name} is neither an application of {config.path} nor a secret of the platform's own"
            if name
            else "NAME is missing"
        )
        raise Trouble(f"{problem}; say make rotate NAME=… with one of: {known}")
    applications.require_separate(config)
    return applications.generated(_accounts(named[name], store))


def _platform_value(config: ConfigFile, key: str, store: str) -> dict[SecretPath, str]:
    if store:
        raise Trouble(f"STORE is for an application's passwords; say make rotate NAME={key} without it")
    if not config.has_secret(key):
        raise Trouble(
            f"{key} is not set yet in {config.path}, so there is nothing to rotate; make up or make init-prod generates it, "
            "or, of a platform that runs already, make import-secrets reads it back"
        )
    return secret_values.generated([key])


def _accounts(application: Application, store: str) -> list[Account]:
    had = application.stores
    if store and store not in had:
        raise Trouble(
            f"application {application.name} has no password for STORE={store}; it has {' and '.join(had)}"
        )
    return [(application, one) for one in had if store in ("", one)]


def _waiver_to_remove(config: ConfigFile, values: dict[SecretPath, str]) -> str | None:
    for application in applications.named_in(config):
        rotated = applications.password_path(application.name, "database") in values
        if rotated and application.settings.password_waiver:
            return (
                f"the new database password of {application.name} is a strong one: passwordWaiver can go from "
                f"applications.{application.name} in {config.path}"
            )
    return None


if __name__ == "__main__":
    command(main)
