"""The only module that reads pulumi.Config: plain keys become Settings, secret keys become Secrets."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pydantic.alias_generators import to_camel

from components.render.env_file import secret_fault
from components.settings import PROJECT, ImageCatalogue, Settings, SettingsError, parse

ROOT = Path(__file__).parents[1]
# What Pulumi.prod.yaml holds where a user has to write: a public key has no hyphen.
PLACEHOLDER = re.compile("replace[-/]me")
SECRET_KEYS = ("postgresPassword", "pgbouncerAuthPassword", "redisAdminPassword", "saltKey")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The stack's secrets, each of printable ASCII and fit for platform.env."""

    postgres_password: pulumi.Output[str]
    pgbouncer_auth_password: pulumi.Output[str]
    redis_admin_password: pulumi.Output[str]
    salt_key: pulumi.Output[str]


def load() -> tuple[Settings, ImageCatalogue, Secrets]:
    """The stack's configuration. Raises pulumi.RunError with one sentence for each fault."""
    try:
        plain = _plain()
        if marked := [key for key, value in plain.items() if PLACEHOLDER.search(json.dumps(value))]:
            raise SettingsError(
                f"{PROJECT}:{', '.join(marked)} still holds values marked replace-me; run make init-prod, or write your own in their place"
            )
        settings = parse(Settings, plain, where=f"{PROJECT}:", others=SECRET_KEYS)
        return settings, _catalogue(settings.image_catalogue), _secrets()
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def _plain() -> dict[str, Any]:
    config = pulumi.Config()
    raw: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        key = to_camel(name)
        text = config.get(key)
        if text is not None:
            raw[key] = text if isinstance(field.default, str) else _json(key, text)
    known = {to_camel(name) for name in Settings.model_fields} | set(SECRET_KEYS)
    said = {*pulumi.runtime.get_config_env(), *pulumi.runtime.config.CONFIG.get()}
    mine = {key.partition(":")[2] for key in said if key.startswith(f"{PROJECT}:")}
    # Handed on so that a misspelt key is named like one inside an object.
    return raw | dict.fromkeys(mine - known)


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise SettingsError(f"{PROJECT}:{key} is {text!r}; write an object, such as {{port: 5432}}") from None


def _catalogue(path: str) -> ImageCatalogue:
    try:
        raw = json.loads((ROOT / path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{PROJECT}:imageCatalogue is {path!r}, which cannot be read ({error.strerror})"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{PROJECT}:imageCatalogue is {path!r}, which is not JSON ({error})") from None
    return parse(ImageCatalogue, raw, where=f"{path}: ")


def _secrets() -> Secrets:
    config = pulumi.Config()
    # Read in the clear only to say early, by name, what cannot be used; what goes on is the secret Output.
    faults: list[str] = []
    for key in SECRET_KEYS:
        full = f"{PROJECT}:{key}"
        value = pulumi.runtime.get_config(full)
        if value is None:
            faults.append(f"{full} is missing; set it with: pulumi config set --secret {key}")
        elif not pulumi.runtime.is_config_secret(full):
            faults.append(f"{full} is not encrypted; set it again with: pulumi config set --secret {key}")
        elif fault := secret_fault(value):
            faults.append(f"{full} {fault}; choose a value of [A-Za-z0-9_-]")
    if faults:
        raise SettingsError("\n".join(faults))
    return Secrets(
        postgres_password=config.require_secret("postgresPassword"),
        pgbouncer_auth_password=config.require_secret("pgbouncerAuthPassword"),
        redis_admin_password=config.require_secret("redisAdminPassword"),
        salt_key=config.require_secret("saltKey"),
    )
