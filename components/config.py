"""The only module that reads pulumi.Config: plain keys become Settings, secret keys become Secrets."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pulumi
from pydantic.alias_generators import to_camel

from components.application_settings import APPLICATION_PASSWORDS, Application, waiver_fault, weakness
from components.render.env_file import secret_fault
from components.settings import PROJECT, ImageCatalogue, Settings, SettingsError, parse

ROOT = Path(__file__).parents[1]
# What Pulumi.prod.yaml holds where a user has to write: a public key has no hyphen.
PLACEHOLDER = re.compile("replace[-/]me")
SECRET_KEYS = ("postgresPassword", "pgbouncerAuthPassword", "redisAdminPassword", "saltKey")
# Needed or not by what the settings say of backups and alerts.
BACKUP_KEY, OFFSITE_KEYS, ALERT_WEBHOOK = (
    "backupKey",
    ("offsiteAccessKey", "offsiteSecretKey"),
    "alertWebhook",
)
# Of Grafana's user admin.
GRAFANA_PASSWORD = "grafanaPassword"  # noqa: S105
OPTIONAL_SECRET_KEYS = (BACKUP_KEY, *OFFSITE_KEYS, ALERT_WEBHOOK, GRAFANA_PASSWORD)
_SECRETS = (*SECRET_KEYS, *OPTIONAL_SECRET_KEYS, APPLICATION_PASSWORDS)


@dataclass(frozen=True, kw_only=True)
class ApplicationPasswords:
    """One application's passwords; `redis` where it has Redis."""

    database: pulumi.Output[str]
    redis: pulumi.Output[str] | None


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The stack's secrets, each of printable ASCII and fit for platform.env; `applications` has those of every application."""

    postgres_password: pulumi.Output[str]
    pgbouncer_auth_password: pulumi.Output[str]
    redis_admin_password: pulumi.Output[str]
    salt_key: pulumi.Output[str]
    applications: Mapping[str, ApplicationPasswords]
    # Those of OPTIONAL_SECRET_KEYS that are set.
    optional: Mapping[str, pulumi.Output[str]]


def load(today: date | None = None) -> tuple[Settings, ImageCatalogue, Secrets]:
    """The stack's configuration, as of a day (UTC). Raises pulumi.RunError with one sentence for each fault."""
    try:
        plain = _plain()
        if marked := [key for key, value in plain.items() if PLACEHOLDER.search(json.dumps(value))]:
            raise SettingsError(
                f"{PROJECT}:{', '.join(marked)} still holds values marked replace-me; run make init-prod, or write your own in their place"
            )
        settings = parse(Settings, plain, where=f"{PROJECT}:", others=_SECRETS)
        secrets = _secrets(settings, today or datetime.now(UTC).date())
        catalogue = _catalogue(settings.image_catalogue)
        if missing := catalogue.unpinned(settings.monitoring.images):
            raise SettingsError(
                f"{PROJECT}:monitoring.enabled needs images that {settings.image_catalogue} does not pin ({', '.join(missing)}); "
                "run make pin-images where the registries can be reached, look at the difference, and run the same command again"
            )
        return settings, catalogue, secrets
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
    known = {to_camel(name) for name in Settings.model_fields} | {*_SECRETS}
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


def _secrets(settings: Settings, today: date) -> Secrets:
    config, applications = pulumi.Config(), settings.application_list
    # Read in the clear only to say early, by name, what cannot be used; what goes on is the secret Output.
    faults: list[str] = []
    needed = _needed(settings)
    for key in (*SECRET_KEYS, *OPTIONAL_SECRET_KEYS):
        full = f"{PROJECT}:{key}"
        value = pulumi.runtime.get_config(full)
        if value is None or (value == "" and key in OPTIONAL_SECRET_KEYS):
            if key in needed:
                faults.append(
                    f"{full} is missing{needed[key]}; set it with: pulumi config set --secret {key}"
                )
        elif not pulumi.runtime.is_config_secret(full):
            faults.append(f"{full} is not encrypted; set it again with: pulumi config set --secret {key}")
        elif fault := secret_fault(value):
            faults.append(f"{full} {fault}; choose a value of [A-Za-z0-9_-]")
    faults += _application_faults(applications, today)
    if faults:
        raise SettingsError("\n".join(faults))
    passwords = config.get_secret_object(APPLICATION_PASSWORDS) or pulumi.Output.from_input(None)

    def password(application: str, store: str) -> pulumi.Output[str]:
        return passwords.apply(lambda known: cast("dict[str, dict[str, str]]", known)[application][store])

    return Secrets(
        postgres_password=config.require_secret("postgresPassword"),
        pgbouncer_auth_password=config.require_secret("pgbouncerAuthPassword"),
        redis_admin_password=config.require_secret("redisAdminPassword"),
        salt_key=config.require_secret("saltKey"),
        applications={
            a.name: ApplicationPasswords(
                database=password(a.name, "database"),
                redis=password(a.name, "redis") if a.settings.redis else None,
            )
            for a in applications
        },
        optional={
            key: config.require_secret(key)
            for key in OPTIONAL_SECRET_KEYS
            if pulumi.runtime.get_config(f"{PROJECT}:{key}")
        },
    )


def _needed(settings: Settings) -> dict[str, str]:
    """The secrets that such settings cannot do without, and why where that is not plain."""
    needed: dict[str, str] = dict.fromkeys(SECRET_KEYS, "")
    if settings.offsite.kind != "none":
        needed[BACKUP_KEY] = ", with which backups are encrypted before they leave the host (backups.offsite)"
    if settings.offsite.kind == "s3":
        needed |= dict.fromkeys(OFFSITE_KEYS, ", which backups.offsite of kind s3 needs")
    if settings.monitoring.with_grafana:
        needed[GRAFANA_PASSWORD] = ", with which Grafana's user admin logs in (monitoring.grafana)"
    return needed


def _application_faults(applications: list[Application], today: date) -> Iterator[str]:
    """What is wrong with the applications' passwords, and with the waivers from the rule for them."""
    full = f"{PROJECT}:{APPLICATION_PASSWORDS}"
    try:
        known = json.loads(pulumi.runtime.get_config(full) or "{}")
    except json.JSONDecodeError:
        # What it says may be a password, so it is not shown.
        known = None
    # `pulumi config rm --path` leaves an empty object, in which nothing is secret.
    if isinstance(known, dict):
        known = {name: stores for name, stores in cast("dict[str, Any]", known).items() if stores != {}}
    if known and not pulumi.runtime.is_config_secret(full):
        yield f"{full} is not encrypted; take it out of the stack's file and set each password with: {password_command('APPLICATION', 'database')}"
        return
    if not isinstance(known, dict):
        yield f"{full} is no object; set each password with: {password_command('APPLICATION', 'database')}"
        return
    passwords = cast("dict[str, Any]", known)
    for name in sorted(passwords.keys() - {a.name for a in applications}):
        pulumi.log.info(
            f"{full} has {name}, which is not in applications; remove it with: pulumi config rm --path '{password_path(name)}'"
        )
    for application in applications:
        if fault := waiver_fault(application, today):
            yield f"{PROJECT}:{fault}"
        elif waiver := application.settings.password_waiver:
            pulumi.log.warn(
                f"application {application.name} may have a weak database password until {waiver.until}: {waiver.reason}"
            )
        mine = passwords.get(application.name, {})
        if not isinstance(mine, dict):
            yield f"{full}.{application.name} is one value; remove it and set one for each store: {password_command(application.name, 'database')}"
            continue
        stores = cast("dict[str, Any]", mine)
        for store in application.stores:
            if fault := _password_fault(application, store, stores.get(store)):
                command = password_command(application.name, store)
                yield f"{full}.{application.name}.{store} {fault}{command}"


def _password_fault(application: Application, store: str, password: Any) -> str | None:
    if password is None:
        return "is missing; set it with: "
    if not isinstance(password, str):
        return "is no text, which a password has to be; set it again with: "
    if fault := secret_fault(password):
        return f"{fault}; choose one of [A-Za-z0-9_-] and set it with: "
    if store == "database" and application.settings.password_waiver:
        return None
    names = [application.name, application.login] if store == "database" else [application.name]
    if fault := weakness(password, names):
        return f"{fault}; choose a stronger one, such as 32 random characters of [A-Za-z0-9_-], and set it with: "
    return None


def password_path(application: str, store: str = "") -> str:
    """A password's place in the configuration, as pulumi's `--path` takes it."""
    key = f".{application}" if "-" not in application else f'["{application}"]'
    return f"{APPLICATION_PASSWORDS}{key}" + (f".{store}" if store else "")


def password_command(application: str, store: str) -> str:
    """What sets a password; pulumi asks for it, or reads it from standard input."""
    return f"pulumi config set --secret --path '{password_path(application, store)}'"
