"""Backups: the WAL receiver `postgres-wal`, the scripts with their settings and keys, and the timers that run them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.config import ALERT_WEBHOOK, BACKUP_KEY, OFFSITE_KEYS
from components.container import ServiceArgs, ServiceContainer, image_for
from components.files import HostFile, write_files
from components.hosts.base import SCRIPTS, Step, script_text
from components.render import backups as text
from components.render.services import wal_service
from components.render.timers import framed, units
from components.settings import ImageCatalogue, Settings

# What operators run by hand from /srv/apps, and the timers by themselves.
COMMANDS = ("backup.sh", "restore.sh", "restore-redis.sh", "pitr.sh", "drill.sh", "offsite.sh", "alert.sh")
# What these read and start.
PARTS = sorted(path.name for path in (SCRIPTS / "host/backup.d").glob("*.sh"))

# What must not go on by itself without the platform.
UNDONE_BY = {"install-timers.sh": "remove-timers.sh"}


@dataclass(frozen=True, kw_only=True)
class BackupsArgs:
    """`service` is for the WAL receiver; `database` is PostgreSQL with its roles."""

    service: ServiceArgs
    catalogue: ImageCatalogue
    database: pulumi.Resource


class Backups(pulumi.ComponentResource):
    """Done when WAL is received and, where the host has systemd, the timers run."""

    service: ServiceContainer

    def __init__(self, name: str, args: BackupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("central-data-platform:components:Backups", name, {}, opts)
        settings, host = args.service.settings, args.service.host
        first = pulumi.ResourceOptions(parent=self, depends_on=args.service.after)
        self.service = ServiceContainer(
            f"{name}-wal",
            wal_service(settings),
            args.service,
            [args.database],
            opts=pulumi.ResourceOptions(parent=self),
        )
        files = {
            "scripts": _scripts(),
            "settings": _settings_files(args, self.service.image),
            "keys": _key_files(args),
        }
        written = [
            write_files(f"{name}-{what}", host, settings.srv_root, of_a_kind, first)
            for what, of_a_kind in files.items()
        ]
        for step in steps(settings):
            host.run(
                f"{name}-{step.script.removesuffix('.sh')}",
                step.script,
                *step.arguments,
                stdin=step.stdin,
                undo=UNDONE_BY.get(step.script),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*written, self.service.container]),
            )
        self.register_outputs({"image": self.service.image})


def steps(settings: Settings) -> list[Step]:
    """What backups need outside srvRoot: programs, and the timers."""
    tools = {"none": [], "s3": ["restic"], "bucket": ["restic", "rclone"]}[settings.offsite.kind]
    if settings.alerts.email and "rclone" not in tools:
        tools = [*tools, "rclone"]
    timers = Step(
        script="install-timers.sh", arguments=[settings.srv_root], stdin=framed(timer_units(settings))
    )
    if not tools:
        return [timers]
    return [Step(script="install-backup-tools.sh", arguments=tools), timers]


def timer_units(settings: Settings) -> dict[str, str]:
    """The text of each unit that install-timers.sh takes, by its name."""
    backups = settings.backups
    return units(
        settings.srv_root,
        backup_at=backups.at,
        drill_day=backups.drill_day,
        drill_at=backups.drill_at,
        metrics=settings.monitoring.enabled,
    )


def _scripts() -> list[HostFile]:
    names = [*COMMANDS, *(f"backup.d/{part}" for part in PARTS)]
    return [HostFile(path=f"apps/{name}", content=script_text(name), mode="0755") for name in names]


def _settings_files(args: BackupsArgs, postgres: pulumi.Output[str]) -> Sequence[HostFile]:
    settings, host = args.service.settings, args.service.host
    images = {"postgres": postgres, "redis": image_for(host, args.catalogue.redis)}
    bucket = pulumi.Output.from_input(None) if host.bucket is None else pulumi.Output.all(**host.bucket)

    def environment(found: dict[str, Any]) -> str:
        return text.backup_env(
            settings,
            stack=pulumi.get_stack(),
            images=found["images"],
            bucket=text.Bucket(**found["bucket"]) if found["bucket"] else None,
        )

    return [
        HostFile(
            path="config/backup/backup.env",
            content=pulumi.Output.all(images=pulumi.Output.all(**images), bucket=bucket).apply(environment),
        ),
        HostFile(
            path="config/backup/drill-queries.tsv", content=text.drill_queries(settings.application_list)
        ),
    ]


def _key_files(args: BackupsArgs) -> Sequence[HostFile]:
    known = args.service.secrets.optional
    offsite = [known[key] for key in OFFSITE_KEYS if key in known]
    secret = {
        "key": known.get(BACKUP_KEY),
        "s3-credentials": pulumi.Output.all(*offsite).apply(lambda keys: text.s3_credentials(*keys))
        if len(offsite) == len(OFFSITE_KEYS)
        else None,
        "webhook": known[ALERT_WEBHOOK].apply(text.curl_config) if ALERT_WEBHOOK in known else None,
    }
    # Empty where the stack has none: what it had before does not stay.
    return [
        HostFile(path=f"config/backup/{file}", content=content or "", mode="0600")
        for file, content in secret.items()
    ]
