"""PgBouncer: configuration and container `pgbouncer`."""

import pulumi

from components.container import ServiceArgs, ServiceContainer
from components.files import HostFile, write_file
from components.render import pgbouncer as text
from components.render.services import pgbouncer_service

UID = "1001"
OWNER = f"{UID}:{UID}"


class Pgbouncer(pulumi.ComponentResource):
    """Ready when port 6432 answers and the configuration has been read; it starts after `database`, and takes over a change of `certificates`."""

    service: ServiceContainer

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
        users = args.secrets.pgbouncer_auth_password.apply(lambda p: text.userlist(auth_password=p))
        files = [
            HostFile(path="config/pgbouncer/pgbouncer.ini", content=text.pgbouncer_ini(settings.pgbouncer)),
            HostFile(path="config/pgbouncer/pg_hba.conf", content=text.pgbouncer_hba(settings)),
            HostFile(
                path="config/pgbouncer/userlist.txt", content=users, mode="0400", owner=OWNER, secret=True
            ),
        ]
        written = [
            write_file(
                f"{name}-{file.path.rpartition('/')[2]}",
                host,
                settings.srv_root,
                file,
                opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
            )
            for file in files
        ]
        self.service = ServiceContainer(
            name,
            pgbouncer_service(settings),
            args,
            [*written, database],
            opts=pulumi.ResourceOptions(parent=self),
        )
        reloaded = host.run(
            f"{name}-reload",
            "reload-pgbouncer.sh",
            # Secret as a whole, since the user list is among them.
            triggers=[pulumi.Output.from_input(file.content) for file in files],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.service.container, *written]),
        )
        host.run(
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
