"""Text of what the backup scripts read: their settings, the off-site store's keys, and the queries of a drill."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.application_settings import Application
from components.backup_settings import S3Offsite
from components.render.env_file import quote
from components.settings import Settings

# The name by which rclone knows OCI Object Storage in backup.env.
REMOTE = "oci"
# The folder of the bucket where an object, by its name, says what has happened (alert.sh).
ALERTS_FOLDER = "alerts"


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket of OCI Object Storage that the host may write as itself, without a key."""

    name: str
    namespace: str
    compartment: str
    region: str


def backup_env(settings: Settings, *, stack: str, images: Mapping[str, str], bucket: Bucket | None) -> str:
    """backup.env: sh reads it, and nothing in it is secret. `images` has the references of postgres and redis."""
    backups, offsite = settings.backups, settings.offsite
    values = {
        "STACK": stack,
        "POSTGRES_IMAGE": images["postgres"],
        "REDIS_IMAGE": images["redis"],
        "KEEP_DAYS": backups.keep_days,
        "KEEP_WEEKS": backups.keep_weeks,
        "KEEP_MONTHS": backups.keep_months,
        "WINDOW_DAYS": backups.window_days,
        "FULL_EVERY_DAYS": backups.full_every_days,
        "BACKUP_MAX_AGE_HOURS": backups.max_age_hours,
        "DRILL_MAX_AGE_DAYS": backups.drill_max_age_days,
        "WAL_MAX_AGE_SECONDS": backups.wal_max_age_seconds,
        "DISK_MARK": backups.disk_mark_percent,
    }
    exported: dict[str, str] = {}
    place = ""
    if isinstance(offsite, S3Offsite):
        place = f"s3:{offsite.endpoint}/{offsite.bucket}"
        exported["AWS_DEFAULT_REGION"] = offsite.region
    elif bucket and offsite.kind == "bucket":
        place = f"rclone:{REMOTE}:{bucket.name}"
    if bucket:
        exported |= {
            f"RCLONE_CONFIG_{REMOTE.upper()}_{name}": value
            for name, value in {
                "TYPE": "oracleobjectstorage",
                "PROVIDER": "instance_principal_auth",
                "NAMESPACE": bucket.namespace,
                "COMPARTMENT": bucket.compartment,
                "REGION": bucket.region,
                # It may write objects, not look after buckets.
                "NO_CHECK_BUCKET": "true",
            }.items()
        }
    told = f"{REMOTE}:{bucket.name}/{ALERTS_FOLDER}" if bucket and settings.alerts.email else ""
    lines = [f"{name}={_word(value)}" for name, value in values.items()]
    lines += [f"OFFSITE={_word(place)}", f"ALERTS_TO={_word(told)}"]
    lines += [f"export {name}={_word(value)}" for name, value in exported.items()]
    return "# Made by Pulumi: settings of the backup scripts.\n" + "".join(f"{line}\n" for line in lines)


def _word(value: str | int) -> str:
    return quote(str(value), bare=True) if value != "" else "''"


def s3_credentials(access_key: str, secret_key: str) -> str:
    """A shared credentials file (AWS SDKs and Tools reference, "Format of the credentials file")."""
    return f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"


def curl_config(url: str) -> str:
    r"""A file for `curl --config` (curl(1)): in double quotes it undoes \\ and \"."""
    escaped = url.replace("\\", "\\\\").replace('"', '\\"')
    return f'url = "{escaped}"\n'


def drill_queries(applications: Sequence[Application]) -> str:
    """drill-queries.tsv: application, database, and a query in base64, which has to give one row with true."""
    return "".join(
        f"{a.name}\t{a.database}\t{base64.b64encode(query.encode()).decode()}\n"
        for a in applications
        for query in a.settings.drill_queries
    )
