"""Clients of the pooler wait while PostgreSQL's container is replaced, and see no error."""

from collections.abc import Callable, Sequence

import pulumi

from components.hosts.base import Host
from components.settings import PgbouncerSettings

# The compose hash of the container to come, and what it needs to start; what has to be done right before it is replaced.
Hold = Callable[[pulumi.Input[str], Sequence[pulumi.Resource]], pulumi.Resource]


def hold_clients(
    name: str, host: Host, settings: PgbouncerSettings, opts: pulumi.ResourceOptions | None = None
) -> Hold:
    """PgBouncer's clients are held back when the hash is another one than the running container's.

    A command, and no hook before the delete: a hook would also be in the way of `pulumi destroy`, which runs no program. That
    clients go on again is done on the host, by the script's own process, however the run ends.
    """

    def hold(config_hash: pulumi.Input[str], after: Sequence[pulumi.Resource]) -> pulumi.Resource:
        return host.run(
            f"{name}-hold",
            "hold-clients.sh",
            config_hash,
            str(settings.pause_seconds),
            settings.when_busy,
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=after)),
        )

    return hold
