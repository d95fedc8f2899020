"""Redis 7.2: configuration, access list and container `redis-cache`."""

from collections.abc import Mapping, Sequence

import pulumi

from components.application_settings import Application
from components.config import Secrets
from components.container import ServiceArgs, ServiceContainer
from components.files import HostFile, write_files
from components.hosts.base import keep
from components.render import monitoring
from components.render import redis as text
from components.render.services import redis_service

OWNER = "999:999"


class Redis(pulumi.ComponentResource):
    """Ready when the container is healthy and lets in whom the configuration names (`ready`); a change of `certificates` is taken over.

    A replaced password is good until `settle`.
    """

    service: ServiceContainer
    ready: pulumi.Resource

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
        self._host, self._salt_key, self._settings = host, args.secrets.salt_key, settings.redis
        self._rules = user_rules(
            settings.application_list, args.secrets, monitored=settings.monitoring.enabled
        )

        conf = HostFile(path="config/redis/redis.conf", content=text.redis_conf(settings.redis))
        acl = HostFile(
            path="config/redis/users.acl",
            content=self._rules.apply(text.users_acl),
            mode="0400",
            owner=OWNER,
        )
        written = [
            write_files(f"{name}-files", host, settings.srv_root, [conf], first),
            write_files(f"{name}-users", host, settings.srv_root, [acl], first),
        ]
        self.service = ServiceContainer(
            name, redis_service(settings), args, written, opts=pulumi.ResourceOptions(parent=self)
        )
        self.ready = host.run(
            f"{name}-reload",
            "reload-redis.sh",
            stdin=pulumi.Output.all(self._rules, self._salt_key).apply(
                lambda known: text.reload_commands(known[0], salt_key=known[1])
            ),
            secret=True,
            triggers=[certificates],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.service.container]),
        )
        self.register_outputs({"image": self.service.image})

    def settle(self, name: str, opts: pulumi.ResourceOptions) -> None:
        """Take away replaced passwords and users that are no longer configured, once whoever needs the new ones has them."""
        stdin = pulumi.Output.all(self._rules, self._salt_key).apply(
            lambda known: text.running_list(known[0], self._settings, salt_key=known[1])
        )
        keep(self._host, name, "redis-running.sh", stdin=stdin, opts=opts)


def user_rules(
    applications: Sequence[Application], secrets: Secrets, *, monitored: bool
) -> pulumi.Output[dict[str, str]]:
    """The rules of the platform's users, of monitoring's and of the applications', by name."""
    with_redis = [(a, redis) for a in applications if (redis := secrets.applications[a.name].redis)]

    def rules(known: Mapping[str, str]) -> dict[str, str]:
        own = text.users(admin_password=known["redis admin"], salt_key=known["salt key"])
        if monitored:
            own[monitoring.REDIS_USER] = monitoring.redis_rules(known["salt key"])
        return own | {a.name: text.application_user(a, known[a.name]) for a, _ in with_redis}

    return pulumi.Output.all(
        **{"redis admin": secrets.redis_admin_password, "salt key": secrets.salt_key},
        **{a.name: password for a, password in with_redis},
    ).apply(rules)
