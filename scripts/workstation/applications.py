"""The applications that a stack's settings name, and their passwords in the stack's file."""

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from components.application_settings import (
    APPLICATION_PASSWORDS,
    Application,
    ApplicationName,
    ApplicationSettings,
    Store,
    weakness,
)
from scripts.workstation import secret_values
from scripts.workstation.config_file import PROJECT, ConfigFile, SecretPath
from scripts.workstation.trouble import Trouble

PASSWORD_LENGTH = 32
Account = tuple[Application, Store]

_NAME = TypeAdapter[str](ApplicationName)


def entries(config: ConfigFile) -> dict[str, Any]:
    """What the settings say of applications, by their names."""
    said = config.settings().get("applications") if config.exists() else None
    return said if isinstance(said, dict) else {}


def named_in(config: ConfigFile) -> list[Application]:
    """The applications of the settings, without those entries that the program will refuse by a sentence of its own."""
    found: list[Application] = []
    for name, entry in entries(config).items():
        try:
            settings = ApplicationSettings.model_validate(entry)
            found.append(Application(name=_NAME.validate_python(name), settings=settings))
        except ValidationError:
            continue
    return found


def require_name(name: str) -> None:
    """Raises Trouble for what can be no application's name."""
    try:
        _NAME.validate_python(name)
    except ValidationError as fault:
        raise Trouble(str(fault.errors()[0]["msg"]).removeprefix("Value error, ")) from None


def password_path(application: str, store: Store) -> SecretPath:
    """Where a password is kept."""
    return (APPLICATION_PASSWORDS, application, store)


def require_separate(config: ConfigFile) -> None:
    """Raises Trouble where the passwords are one secret, into which nothing can be set."""
    if config.has_secret(APPLICATION_PASSWORDS):
        raise Trouble(
            f"{PROJECT}:{APPLICATION_PASSWORDS} in {config.path} is encrypted as a whole; remove it, and set each password by itself with: "
            f"pulumi config set --secret --path '{APPLICATION_PASSWORDS}.APPLICATION.database'"
        )


def missing(config: ConfigFile) -> list[Account]:
    """The accounts without a password."""
    require_separate(config)
    return [
        (application, store)
        for application in named_in(config)
        for store in application.stores
        if config.value(*password_path(application.name, store)) is None
    ]


def generated(accounts: Iterable[Account]) -> dict[SecretPath, str]:
    """A new password for each account."""
    return {
        password_path(application.name, store): strong_password(application)
        for application, store in accounts
    }


def strong_password(application: Application) -> str:
    """A password that the program accepts: not one in which the application's own, short name happens to be."""
    names = (application.name, application.login)
    while weakness(password := secret_values.generate(PASSWORD_LENGTH), names):
        pass
    return password


def described(paths: Iterable[SecretPath]) -> str:
    """Secrets for a person: `postgresPassword, librarian (database, redis)`."""
    named: dict[str, list[str]] = {}
    for path in paths:
        if path[0] == APPLICATION_PASSWORDS:
            named.setdefault(path[1], []).extend(path[2:])
        else:
            named.setdefault(path[0], [])
    return ", ".join(f"{name} ({', '.join(within)})" if within else name for name, within in named.items())
