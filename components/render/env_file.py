"""Text of platform.env, read alike by `docker compose --env-file` and by `.` in sh."""

import re
from collections.abc import Mapping

from components.settings import SettingsError

# The lines of secrets that every stack has, and of those that it may have or not, with their keys in the configuration.
LINES = {
    "POSTGRES_PASSWORD": "postgresPassword",
    "PGBOUNCER_AUTH_PASSWORD": "pgbouncerAuthPassword",
    "REDIS_ADMIN_PASSWORD": "redisAdminPassword",
}
OPTIONAL_LINES = {
    "BACKUP_KEY": "backupKey",
    "OFFSITE_ACCESS_KEY": "offsiteAccessKey",
    "OFFSITE_SECRET_KEY": "offsiteSecretKey",
    "ALERT_WEBHOOK": "alertWebhook",
    "GRAFANA_PASSWORD": "grafanaPassword",
}

HEADER = """\
# Made by Pulumi: the stack's configuration is the source, and an edit here is reported as drift and overwritten.
# With lost state, `make import-secrets` reads this file back into a stack.
"""


def secret_fault(value: str) -> str | None:
    """Why a secret cannot be written so that all its readers agree, or None. Never shows the value."""
    if not value:
        return "is empty"
    if not re.fullmatch(r"[ -~]+", value):
        return "holds a control character or one beyond ASCII"
    if re.match(r"md5[0-9a-f]{32}$|SCRAM-SHA-256\$", value):
        return "looks like the hash of a password, which PgBouncer would take for one"
    if "`" in value and ("'" in value or _ends_in_escape(value)):
        return "holds a backtick together with a single quote or a final backslash, which compose and sh read differently"
    return None


def quote(value: str, *, bare: bool = False) -> str:
    r"""One value, quoted; with `bare` only where it has to be. Raises SettingsError for what `secret_fault` refuses.

    In single quotes sh takes everything as it is, and compose all but a backslash before the closing quote
    (compose-go, dotenv/parser.go); in double quotes both undo \\, \" and \$, but only sh undoes \`. `docker run --env-file`
    keeps quotes as a part of the value, so that what needs none had better have none.
    """
    if fault := secret_fault(value):
        raise SettingsError(f"a value for platform.env {fault}; choose one of [A-Za-z0-9_-]")
    if bare and re.fullmatch(r"[A-Za-z0-9_./:@%+,-]+", value):
        return value
    if "'" not in value and not _ends_in_escape(value):
        return f"'{value}'"
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def _ends_in_escape(value: str) -> bool:
    return (len(value) - len(value.rstrip("\\"))) % 2 == 1


def env_file(values: Mapping[str, str]) -> str:
    """The whole file."""
    return HEADER + "".join(f"{name}={quote(value)}\n" for name, value in values.items())
