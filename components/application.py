"""One application on the platform: its roles and database, and the files from which it knows how to connect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components import application_settings
from components.config import ApplicationPasswords
from components.hosts.base import Host, keep
from components.render import application as text
from components.render.passwords import PasswordFile, password_list
from components.settings import Settings
from components.verifiers import verifier


@dataclass(frozen=True, kw_only=True)
class ApplicationArgs:
    """The application and its secrets. `after` is the platform, running and ready to let it in."""

    application: application_settings.Application
    settings: Settings
    passwords: ApplicationPasswords
    salt_key: pulumi.Output[str]
    # PEM; for clients outside the host.
    ca_certificate: pulumi.Output[str]
    host: Host
    after: Sequence[pulumi.Resource]


class Application(pulumi.ComponentResource):
    """Done when the application can connect with what its server.env says (`ready`)."""

    ready: pulumi.Resource

    def __init__(self, name: str, args: ApplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("central-data-platform:components:Application", name, {}, opts)
        application, host = args.application, args.host
        account = keep(
            host,
            f"{name}-account",
            "application.sh",
            application.name,
            application.database,
            application.login,
            application.owner,
            application.read_only,
            application.read_write,
            str(application.connections),
            "yes" if application.settings.password_waiver else "no",
            *sorted(set(application.settings.extensions)),
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
        )
        self.ready = keep(
            host,
            f"{name}-password",
            "password.sh",
            application.login,
            stdin=_password_list(args),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[account]),
        )
        self.register_outputs({})


def _password_list(args: ApplicationArgs) -> pulumi.Output[str]:
    application = args.application
    folder = f"{args.settings.srv_root}/apps/{application.name}"
    places = {
        "server.env": text.on_the_network(),
        "server.external.env": text.from_outside(args.settings),
    }

    def render(known: Mapping[str, str]) -> str:
        blocks = [
            PasswordFile(
                path=f"{folder}/{file}",
                block=True,
                content=text.connection_block(
                    application,
                    at,
                    database_password=known["database"],
                    redis_password=known.get("redis"),
                ),
            )
            for file, at in places.items()
        ]
        public = {"platform.yaml": text.platform_yaml(application), text.CA_FILE: known["ca"]}
        files = [
            PasswordFile(path=f"{folder}/{file}", mode="0644", content=content)
            for file, content in public.items()
        ]
        released = application.settings.password_waiver is None
        return password_list(known["verifier"], [*blocks, *files], release=released)

    passwords = args.passwords
    return pulumi.Output.all(
        verifier=verifier(application.login, passwords.database, args.salt_key),
        database=passwords.database,
        ca=args.ca_certificate,
        **({"redis": passwords.redis} if passwords.redis else {}),
    ).apply(render)


def summary(application: application_settings.Application, srv_root: str) -> dict[str, str | None]:
    """What a stack's output says of an application; a preview shows it when the entry is taken out of the settings."""
    waiver = application.settings.password_waiver
    return {
        "database": application.database,
        "user": application.login,
        "serverEnv": f"{srv_root}/apps/{application.name}/server.env",
        "redisKeyPrefix": application.key_prefix if application.settings.redis else None,
        "passwordWaiver": f"until {waiver.until}: {waiver.reason}" if waiver else None,
        "whenRemoved": (
            f"access is closed, and database {application.database} and the keys are kept; "
            f"to delete them for good: make drop-application NAME={application.name}"
        ),
    }
