"""The platform as a whole, in the order in which its parts start."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pulumi

from components.application import Application, ApplicationArgs
from components.backups import Backups, BackupsArgs, steps, timer_units
from components.config import Secrets
from components.container import ServiceArgs, image_for
from components.files import HostFile, write_files
from components.hosts.base import SCRIPTS, Host, keep, script_text
from components.images import checked_images
from components.monitoring import Monitoring, MonitoringArgs
from components.network import Network, NetworkArgs
from components.pgbouncer import Pgbouncer
from components.postgres import Postgres
from components.redis import Redis
from components.render.machine import FILES, UNITS, bootstrap_sh, machine_list
from components.render.service import COMPOSE_PROJECT, compose_file
from components.render.waivers import waivers_tsv
from components.secrets_file import SecretsFile, SecretsFileArgs
from components.settings import Image, ImageCatalogue, Settings
from components.tls import Tls, TlsArgs

# Operators run these by hand, from /srv/apps.
INSTALLED_SCRIPTS = (
    "drop-application.sh",
    "pooler.sh",
    "status.sh",
    "upgrade-postgres.sh",
    "upgrade-redis.sh",
    # What status.sh looks at, a file for each subject.
    *sorted(f"status.d/{path.name}" for path in (SCRIPTS / "host/status.d").glob("*.sh")),
)


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """The stack's configuration and the host that it describes."""

    settings: Settings
    catalogue: ImageCatalogue
    secrets: Secrets
    host: Host


class CentralDataPlatform(pulumi.ComponentResource):
    """Network, secrets file, PostgreSQL, Redis, PgBouncer, the compose file that describes them, and the applications."""

    containers: dict[str, pulumi.Output[str]]
    images: dict[str, pulumi.Output[str]]
    # PEM; whoever connects over TLS checks the servers' certificates by it.
    ca_certificate: pulumi.Output[str]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("central-data-platform:components:CentralDataPlatform", name, {}, opts)
        settings, host = args.settings, args.host
        mine = pulumi.ResourceOptions(parent=self)

        tree = host.run(
            f"{name}-tree",
            "make-tree.sh",
            settings.srv_root,
            pulumi.get_stack(),
            # It holds the data directories.
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        images = checked_images(f"{name}-images", host, args.catalogue, settings.monitoring.images, mine)
        versions = host.run(
            f"{name}-versions",
            "check-data-versions.sh",
            settings.srv_root,
            image_for(host, args.catalogue.postgres),
            image_for(host, args.catalogue.redis),
            # Before anything that names an image is written.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[tree, images]),
        )
        in_tree = pulumi.ResourceOptions(parent=self, depends_on=[tree, versions])
        network = Network(
            f"{name}-network",
            NetworkArgs(settings=settings.network, srv_root=settings.srv_root, host=host),
            mine,
        )
        secrets_file = SecretsFile(
            f"{name}-secrets",
            SecretsFileArgs(
                secrets=args.secrets,
                applications=settings.application_list,
                srv_root=settings.srv_root,
                host=host,
                after=[tree],
            ),
            mine,
        )
        tls = Tls(
            f"{name}-tls",
            TlsArgs(settings=settings, host=host, after=[tree], today=datetime.now(UTC).date()),
            mine,
        )
        self.ca_certificate = tls.ca_certificate

        scripts = {script: script_text(script) for script in INSTALLED_SCRIPTS} | _bootstrap(host, settings)
        installed = write_files(
            f"{name}-scripts",
            host,
            settings.srv_root,
            [HostFile(path=f"apps/{path}", content=text, mode="0755") for path, text in scripts.items()],
            in_tree,
        )

        def service_args(image: Image) -> ServiceArgs:
            return ServiceArgs(
                settings=settings,
                secrets=args.secrets,
                image=image,
                host=host,
                network=network.network_name,
                after=[secrets_file, tls, versions, installed],
            )

        postgres = Postgres(f"{name}-postgres", service_args(args.catalogue.postgres), tls.certificates, mine)
        redis = Redis(f"{name}-redis", service_args(args.catalogue.redis), tls.certificates, mine)
        pgbouncer = Pgbouncer(
            f"{name}-pgbouncer",
            service_args(args.catalogue.pgbouncer),
            tls.certificates,
            postgres.ready,
            mine,
        )
        after = [postgres.ready, redis.ready, pgbouncer.ready]
        ready = _place_applications(name, args, tls, after, mine)
        backups = Backups(
            f"{name}-backups",
            BackupsArgs(
                service=service_args(args.catalogue.postgres),
                catalogue=args.catalogue,
                database=postgres.ready,
            ),
            mine,
        )
        redis.settle(
            f"{name}-redis-settled",
            pulumi.ResourceOptions(parent=self, depends_on=[*after, *ready]),
        )

        running = [postgres.service, redis.service, pgbouncer.service, backups.service]
        if settings.monitoring.enabled:
            running += Monitoring(
                f"{name}-monitoring",
                MonitoringArgs(
                    service=service_args(args.catalogue.postgres), catalogue=args.catalogue, servers=after
                ),
                mine,
            ).services
        self.images = {made.service.name: made.image for made in running}
        self.containers = {made.service.name: made.container.id for made in running}

        compose = HostFile(
            path=f"apps/{COMPOSE_PROJECT}/docker-compose.yml",
            content=pulumi.Output.all(**self.images).apply(
                lambda images: compose_file(
                    [(made.service, images[made.service.name]) for made in running],
                    settings.network,
                    srv_root=settings.srv_root,
                )
            ),
        )
        waivers = HostFile(path="config/waivers.tsv", content=waivers_tsv(settings.application_list))
        for what, file in {"compose": compose, "waivers": waivers}.items():
            write_files(f"{name}-{what}", host, settings.srv_root, [file], in_tree)
        if host.preparation:
            # Timers are the last that is made outside srvRoot.
            prepared = pulumi.ResourceOptions(parent=self, depends_on=[installed, backups])
            listed = _outside(host, settings)
            keep(
                host, f"{name}-machine", "machine-running.sh", settings.srv_root, stdin=listed, opts=prepared
            )
        self.register_outputs({"containers": self.containers, "images": self.images})


def _place_applications(
    name: str, args: PlatformArgs, tls: Tls, after: list[pulumi.Resource], mine: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """The applications of the settings get in. Returns what is done when they can."""
    settings, secrets = args.settings, args.secrets
    return [
        Application(
            f"{name}-application-{application.name}",
            ApplicationArgs(
                application=application,
                settings=settings,
                passwords=secrets.applications[application.name],
                salt_key=secrets.salt_key,
                ca_certificate=tls.ca_certificate,
                host=args.host,
                after=after,
            ),
            mine,
        ).ready
        for application in settings.application_list
    ]


def _outside(host: Host, settings: Settings) -> str:
    """What machine-running.sh has to find outside srvRoot."""
    given = {step.script: step.stdin for step in host.preparation}
    files = {path: text for script, path in FILES.items() if (text := given.get(script))}
    timers = timer_units(settings)
    files |= {f"/etc/systemd/system/{unit}": text for unit, text in timers.items()}
    return machine_list(files, [*UNITS, *(unit for unit in timers if unit.endswith(".timer"))])


def _bootstrap(host: Host, settings: Settings) -> dict[str, str]:
    """What lives outside srvRoot, as scripts inside it: an archive of srvRoot is enough for another machine."""
    if not host.preparation:
        return {}
    needed = [(step.script, step.arguments, step.stdin) for step in [*host.preparation, *steps(settings)]]
    scripts = {f"bootstrap.d/{script}": script_text(script) for script, _, _ in needed}
    return {**scripts, "bootstrap.sh": bootstrap_sh(needed)}
