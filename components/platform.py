"""The platform as a whole, in the order in which its parts start."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pulumi

from components.application import Application, ApplicationArgs
from components.backups import Backups, BackupsArgs, steps
from components.config import Secrets
from components.container import ServiceArgs
from components.files import HostFile, write_file
from components.hosts.base import Host, script_text
from components.network import Network, NetworkArgs
from components.pgbouncer import Pgbouncer
from components.postgres import Postgres
from components.redis import Redis
from components.render.machine import bootstrap_sh
from components.render.service import COMPOSE_PROJECT, compose_file
from components.render.waivers import waivers_tsv
from components.secrets_file import SecretsFile, SecretsFileArgs
from components.settings import Image, ImageCatalogue, Settings
from components.tls import Tls, TlsArgs

# Operators run these by hand, from /srv/apps.
INSTALLED_SCRIPTS = ("drop-application.sh", "pooler.sh", "status.sh")


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
        in_tree = pulumi.ResourceOptions(parent=self, depends_on=[tree])
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

        def service_args(image: Image) -> ServiceArgs:
            return ServiceArgs(
                settings=settings,
                secrets=args.secrets,
                image=image,
                host=host,
                network=network.network_name,
                after=[secrets_file, tls],
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
        self.images = {made.service.name: made.image for made in running}
        self.containers = {made.service.name: made.container.id for made in running}

        write_file(
            f"{name}-compose",
            host,
            settings.srv_root,
            HostFile(
                path=f"apps/{COMPOSE_PROJECT}/docker-compose.yml",
                content=pulumi.Output.all(**self.images).apply(
                    lambda images: compose_file(
                        [(made.service, images[made.service.name]) for made in running],
                        settings.network,
                        srv_root=settings.srv_root,
                    )
                ),
            ),
            in_tree,
        )
        write_file(
            f"{name}-waivers",
            host,
            settings.srv_root,
            HostFile(path="config/waivers.tsv", content=waivers_tsv(settings.application_list)),
            in_tree,
        )
        for script in INSTALLED_SCRIPTS:
            write_file(
                f"{name}-{script}",
                host,
                settings.srv_root,
                HostFile(path=f"apps/{script}", content=script_text(script), mode="0755"),
                in_tree,
            )
        _write_bootstrap(name, host, settings, in_tree)
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


def _write_bootstrap(name: str, host: Host, settings: Settings, opts: pulumi.ResourceOptions) -> None:
    """What lives outside srvRoot, as scripts inside it: an archive of srvRoot is enough for another machine."""
    if not host.preparation:
        return
    needed = [(step.script, step.arguments, step.stdin) for step in [*host.preparation, *steps(settings)]]
    scripts = {f"bootstrap.d/{script}": script_text(script) for script, _, _ in needed}
    for path, text in {**scripts, "bootstrap.sh": bootstrap_sh(needed)}.items():
        write_file(
            f"{name}-{path.rpartition('/')[2]}",
            host,
            settings.srv_root,
            HostFile(path=f"apps/{path}", content=text, mode="0755"),
            opts,
        )
