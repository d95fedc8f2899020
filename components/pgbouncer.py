"""PgBouncer: configuration and container `pgbouncer`."""

import pulumi

from components.container import ServiceArgs, ServiceContainer
from components.files import HostFile, checksums, write_files
from components.hosts.base import keep
from components.render import pgbouncer as text
from components.render.passwords import PasswordFile, password_list
from components.render.postgres import AUTH_ROLE
from components.render.services import pgbouncer_service
from components.verifiers import verifier

UID = "1001"
OWNER = f"{UID}:{UID}"


class Pgbouncer(pulumi.ComponentResource):
    """Ready when port 6432 answers and the configuration has been read (`ready`); it starts after `database`, and takes over a change of `certificates`."""

    service: ServiceContainer
    ready: pulumi.Resource

    def __init__(
        self,
        name: str,
        args: ServiceArgs,
        certificates: pulumi.Output[str],
        database: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("central-data-platform:components:Pgbouncer", name, {}, opts)
        settings, host = args.settings, args.host
        files = [
            HostFile(
                path="config/pgbouncer/pgbouncer.ini",
                content=text.pgbouncer_ini(settings),
            ),
            HostFile(path="config/pgbouncer/pg_hba.conf", content=text.pgbouncer_hba(settings)),
        ]
        if settings.monitoring.enabled:
            files.append(HostFile(path="config/pgbouncer/pg_ident.conf", content=text.pgbouncer_ident()))
        written = write_files(
            f"{name}-files",
            host,
            settings.srv_root,
            files,
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
        )
        # The role that looks the others up: a running PgBouncer and PostgreSQL change its password in one step.
        password = keep(
            host,
            f"{name}-password",
            "password.sh",
            AUTH_ROLE,
            stdin=_password_list(args),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.after, database]),
        )
        self.service = ServiceContainer(
            name,
            pgbouncer_service(settings),
            args,
            [written, password],
            opts=pulumi.ResourceOptions(parent=self),
        )
        reloaded = keep(
            host,
            f"{name}-running",
            "pgbouncer-running.sh",
            settings.srv_root,
            stdin=checksums(settings.srv_root, files),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.service.container, written]),
        )
        self.ready = host.run(
            f"{name}-certificate",
            "take-certificate.sh",
            self.service.service.name,
            UID,
            f"{settings.srv_root}/config/pgbouncer/tls/server.crt",
            f"{settings.publish_address}:{settings.pgbouncer.port}",
            triggers=[certificates],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[reloaded]),
        )
        self.register_outputs({"image": self.service.image})


def _password_list(args: ServiceArgs) -> pulumi.Output[str]:
    password = args.secrets.pgbouncer_auth_password

    def render(known: dict[str, str]) -> str:
        users = PasswordFile(
            path=f"{args.settings.srv_root}/config/pgbouncer/userlist.txt",
            content=text.userlist(auth_password=known["password"]),
            mode="0400",
            owner=OWNER,
        )
        return password_list(known["verifier"], [users], reload_pgbouncer=True)

    return pulumi.Output.all(
        verifier=verifier(AUTH_ROLE, password, args.secrets.salt_key), password=password
    ).apply(render)
