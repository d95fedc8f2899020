"""What an operator may say of backups and alerts. Plain data, like settings.py, whose parts it is. Times are UTC."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.model import Model

Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def s3_endpoint(url: str) -> str:
    """An S3 server's URL: encrypted on the way, unless it is on the host itself."""
    match = re.fullmatch(r"(https?)://([A-Za-z0-9.-]+)(:\d+)?/?", url)
    if not match:
        raise ValueError("write the store's URL without a path, such as https://s3.example.com")
    if match[1] == "http" and match[2] not in ("127.0.0.1", "localhost"):
        raise ValueError(f"{url} is not encrypted on the way; write https://")
    return url.rstrip("/")


class S3Offsite(Model):
    """A bucket of any store that speaks S3; its keys are the secrets offsiteAccessKey and offsiteSecretKey."""

    kind: Literal["s3"]
    endpoint: Annotated[str, AfterValidator(s3_endpoint)]
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]+$")


class BucketOffsite(Model):
    """The stack's own bucket in OCI Object Storage, which the host may write without a stored key."""

    kind: Literal["bucket"]


class NoOffsite(Model):
    """Backups stay on the host: its volume is then the only copy."""

    kind: Literal["none"]


Offsite = S3Offsite | BucketOffsite | NoOffsite


class BackupSettings(Model):
    """When backups are made, how long they are kept, where they go, and from when on their age is an alarm."""

    at: Clock = "02:30"
    # Dumps: the newest of each of so many days, weeks and months.
    keep_days: int = Field(default=7, ge=1, le=366)
    keep_weeks: int = Field(default=4, ge=0, le=520)
    keep_months: int = Field(default=6, ge=0, le=120)
    # How far back recovery to a point in time goes, and how often its base backup is a full one.
    window_days: int = Field(default=7, ge=1, le=90)
    full_every_days: int = Field(default=7, ge=1, le=30)
    # Without it: the stack's bucket in OCI, and none on a workstation.
    offsite: Offsite | None = Field(default=None, discriminator="kind")
    drill_day: Weekday = "Sun"
    drill_at: Clock = "04:30"
    max_age_hours: int = Field(default=26, ge=1, le=24 * 31)
    drill_max_age_days: int = Field(default=8, ge=1, le=92)
    wal_max_age_seconds: int = Field(default=300, ge=60, le=86_400)
    disk_mark_percent: int = Field(default=85, ge=50, le=95)

    @model_validator(mode="after")
    def ages_fit(self) -> Self:
        if self.max_age_hours < 24:
            raise ValueError(
                f"maxAgeHours {self.max_age_hours} is less than the 24 hours between two backups, which would always be an alarm; write 25 or more"
            )
        return self


class AlertSettings(Model):
    """Who is told: an e-mail address by OCI Notifications; a webhook is the secret alertWebhook."""

    email: Annotated[str, Field(pattern=r"^[^@\s\"]+@[^@\s\"]+\.[^@\s\"]+$")] | None = None
