"""Redis 7.2: configuration, access list and container `redis-cache`."""

import pulumi

from components.container import ServiceArgs, ServiceContainer
from components.files import HostFile, write_file
from components.render import redis as text
from components.render.services import redis_service

OWNER = "999:999"


class Redis(pulumi.ComponentResource):
    """Ready when the container is healthy and its access list is the configured one; a change of `certificates` is taken over."""

    service: ServiceContainer

    def __init__(
        self,
        name: str,
        args: ServiceArgs,
        certificates: pulumi.Output[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("central-data-platform:components:Redis", name, {}, opts)
        settings, host = args.settings, args.host
        first = pulumi.ResourceOptions(parent=self, depends_on=args.after)
        secrets = pulumi.Output.all(admin=args.secrets.redis_admin_password, salt=args.secrets.salt_key)
        rules = secrets.apply(lambda s: text.users(admin_password=s["admin"], salt_key=s["salt"]))

        conf = write_file(
            f"{name}-redis.conf",
            host,
            settings.srv_root,
            HostFile(path="config/redis/redis.conf", content=text.redis_conf(settings.redis)),
            opts=first,
        )
        acl = write_file(
            f"{name}-users.acl",
            host,
            settings.srv_root,
            HostFile(
                path="config/redis/users.acl",
                content=rules.apply(text.users_acl),
                mode="0400",
                owner=OWNER,
                secret=True,
            ),
            opts=first,
        )
        self.service = ServiceContainer(
            name, redis_service(settings), args, [conf, acl], opts=pulumi.ResourceOptions(parent=self)
        )
        host.run(
            f"{name}-reload",
            "reload-redis.sh",
            stdin=pulumi.Output.all(rules, secrets).apply(
                lambda known: text.reload_commands(known[0], salt_key=known[1]["salt"])
            ),
            secret=True,
            triggers=[certificates],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.service.container]),
        )
        self.register_outputs({"image": self.service.image})
