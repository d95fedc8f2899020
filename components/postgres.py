"""PostgreSQL 17: data directory, configuration, container `postgres-db`, and the platform's own roles."""

import pulumi

from components.container import ServiceArgs, ServiceContainer, image_for
from components.files import HostFile, checksums, write_files
from components.hold import hold_clients
from components.hosts.base import keep
from components.render import postgres as text
from components.render.monitoring import role_sql
from components.render.passwords import password_list
from components.render.services import postgres_service
from components.verifiers import verifier

UID = "999"


class Postgres(pulumi.ComponentResource):
    """Ready when the container is healthy and the roles are there (`ready`); a change of `certificates` is taken over."""

    service: ServiceContainer
    ready: pulumi.Resource

    def __init__(
        self,
        name: str,
        args: ServiceArgs,
        certificates: pulumi.Output[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("central-data-platform:components:Postgres", name, {}, opts)
        settings, host = args.settings, args.host
        first = pulumi.ResourceOptions(parent=self, depends_on=args.after)

        files = [
            HostFile(path="config/postgres/postgresql.conf", content=text.postgresql_conf(settings.postgres)),
            HostFile(path="config/postgres/pg_hba.conf", content=text.pg_hba_conf(settings)),
            HostFile(
                path="config/postgres/pg_ident.conf",
                content=text.pg_ident_conf(monitored=settings.monitoring.enabled),
            ),
        ]
        written = write_files(f"{name}-files", host, settings.srv_root, files, opts=first)
        cluster = host.run(
            f"{name}-cluster",
            "init-postgres.sh",
            image_for(host, args.image),
            settings.srv_root,
            settings.postgres.locale.provider,
            settings.postgres.locale.name,
            opts=pulumi.ResourceOptions.merge(first, pulumi.ResourceOptions(protect=True)),
        )
        self.service = ServiceContainer(
            name,
            postgres_service(settings),
            args,
            [written, cluster],
            opts=pulumi.ResourceOptions(parent=self),
            hold=hold_clients(name, host, settings.pgbouncer, pulumi.ResourceOptions(parent=self)),
        )
        running = pulumi.ResourceOptions(parent=self, depends_on=[self.service.container])
        # Before pg_hba.conf forgets in what bounds they were.
        closed = keep(
            host,
            f"{name}-former-logins",
            "close-applications.sh",
            settings.srv_root,
            *(f"{a.name}/{a.login}" for a in settings.application_list),
            opts=running,
        )
        reloaded = keep(
            host,
            f"{name}-running",
            "postgres-running.sh",
            stdin=checksums(settings.srv_root, files),
            opts=pulumi.ResourceOptions.merge(running, pulumi.ResourceOptions(depends_on=[closed])),
        )
        host.run(
            f"{name}-certificate",
            "take-certificate.sh",
            self.service.service.name,
            UID,
            f"{settings.srv_root}/config/postgres/tls/server.crt",
            f"{settings.publish_address}:{settings.postgres.port}",
            triggers=[certificates],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[reloaded]),
        )
        roles = host.run(
            f"{name}-roles",
            "psql.sh",
            stdin=text.roles_sql() + role_sql(enabled=settings.monitoring.enabled),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.service.container, reloaded]),
        )
        self.ready = keep(
            host,
            f"{name}-password",
            "password.sh",
            text.ADMIN,
            stdin=verifier(text.ADMIN, args.secrets.postgres_password, args.secrets.salt_key).apply(
                password_list
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[roles]),
        )
        self.register_outputs({"image": self.service.image})
