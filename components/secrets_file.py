"""/srv/config/platform.env, the single source of secrets on the host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.application_settings import Application
from components.config import Secrets
from components.files import HostFile, write_files
from components.hosts.base import Host
from components.render.env_file import OPTIONAL_LINES, env_file


@dataclass(frozen=True, kw_only=True)
class SecretsFileArgs:
    """What goes into the file, and where it is; `after` has made its folder."""

    secrets: Secrets
    applications: Sequence[Application]
    srv_root: str
    host: Host
    after: Sequence[pulumi.Resource]


class SecretsFile(pulumi.ComponentResource):
    """platform.env: root's, mode 0600."""

    def __init__(self, name: str, args: SecretsFileArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("central-data-platform:components:SecretsFile", name, {}, opts)
        secrets = args.secrets
        content = pulumi.Output.all(
            POSTGRES_PASSWORD=secrets.postgres_password,
            PGBOUNCER_AUTH_PASSWORD=secrets.pgbouncer_auth_password,
            REDIS_ADMIN_PASSWORD=secrets.redis_admin_password,
            **{
                line: secrets.optional[key] for line, key in OPTIONAL_LINES.items() if key in secrets.optional
            },
            **_of_applications(args.applications, secrets),
        ).apply(env_file)
        write_files(
            f"{name}-file",
            args.host,
            args.srv_root,
            [HostFile(path="config/platform.env", content=content, mode="0600")],
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
        )
        self.register_outputs({})


def _of_applications(
    applications: Sequence[Application], secrets: Secrets
) -> Mapping[str, pulumi.Output[str]]:
    found: dict[str, pulumi.Output[str]] = {}
    for application in applications:
        passwords = secrets.applications[application.name]
        found[application.secret_name("DB")] = passwords.database
        if passwords.redis:
            found[application.secret_name("REDIS")] = passwords.redis
    return found
