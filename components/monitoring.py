"""Monitoring: exporters for PostgreSQL, PgBouncer, Redis and the host, the store of their metrics with its rules, and Grafana."""

from dataclasses import dataclass, replace

import pulumi

from components.config import GRAFANA_PASSWORD
from components.container import ServiceArgs, ServiceContainer
from components.files import HostFile, write_files
from components.hosts.base import script_text
from components.monitoring_settings import GRAFANA, MonitoringSettings
from components.render import monitoring as text
from components.render.monitoring_services import (
    GRAFANA_USER,
    LOOPBACK,
    REDIS_EXPORTER_USER,
    monitoring_services,
)
from components.settings import ImageCatalogue

FOLDER = "config/monitoring"
# What the timer starts, and what status.sh reads.
SCRIPTS = ("metrics.sh", "monitoring.d/checks.sh")


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """`service` has the platform's network; `servers` are ready to be looked at."""

    service: ServiceArgs
    catalogue: ImageCatalogue
    servers: list[pulumi.Resource]


class Monitoring(pulumi.ComponentResource):
    """Done when every container is healthy. Only made where it is on."""

    services: list[ServiceContainer]

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("central-data-platform:components:Monitoring", name, {}, opts)
        settings, host, secrets = args.service.settings, args.service.host, args.service.secrets
        mine = pulumi.ResourceOptions(parent=self)
        tree = host.run(
            f"{name}-tree",
            "monitoring-tree.sh",
            settings.srv_root,
            # Without monitoring, its configuration and passwords go; the history stays.
            undo="remove-monitoring.sh",
            opts=pulumi.ResourceOptions.merge(mine, pulumi.ResourceOptions(depends_on=args.service.after)),
        )
        in_tree = pulumi.ResourceOptions(parent=self, depends_on=[tree])
        plain = [
            HostFile(path=f"apps/{script}", content=script_text(script), mode="0755") for script in SCRIPTS
        ]
        texts = {
            f"prometheus/{path}": content for path, content in text.store_files(settings.monitoring).items()
        }
        secret = {
            "redis-exporter/passwords.json": (
                secrets.salt_key.apply(text.redis_password_file),
                REDIS_EXPORTER_USER,
            )
        }
        if settings.monitoring.grafana:
            grafana = text.grafana_files(settings.monitoring) | text.dashboard_files()
            texts |= {f"grafana/{path}": content for path, content in grafana.items()}
            secret["grafana-secrets/admin-password"] = (secrets.optional[GRAFANA_PASSWORD], GRAFANA_USER)
        texts["monitoring.env"] = text.monitoring_env(settings.monitoring)
        plain += [HostFile(path=f"{FOLDER}/{path}", content=content) for path, content in texts.items()]
        keys = [
            HostFile(path=f"{FOLDER}/{path}", content=content, mode="0400", owner=owner)
            for path, (content, owner) in secret.items()
        ]
        written = [
            write_files(f"{name}-files", host, settings.srv_root, plain, in_tree),
            write_files(f"{name}-keys", host, settings.srv_root, keys, in_tree),
        ]
        self.services = []
        # The store has something to ask, and Grafana somebody: one after the other where one needs the other.
        for service in monitoring_services(settings):
            made = ServiceContainer(
                f"{name}-{service.name}",
                service,
                replace(args.service, image=args.catalogue.named(service.name)),
                [
                    *written,
                    *(s.container for s in self.services if s.service.name in service.after),
                    *args.servers,
                ],
                opts=mine,
            )
            self.services.append(made)
            if service.name == GRAFANA:
                host.run(
                    f"{name}-password",
                    "grafana-password.sh",
                    settings.srv_root,
                    triggers=[secrets.optional[GRAFANA_PASSWORD]],
                    secret=True,
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[made.container]),
                )
        self.register_outputs({})


def monitoring_addresses(settings: MonitoringSettings) -> dict[str, str]:
    """The stack's outputs by which a tunnel finds the two pages; none where monitoring is off."""
    return {
        f"{key.removesuffix('Port')}Address": f"{LOOPBACK}:{port}" for key, port in settings.ports.items()
    }
