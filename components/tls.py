"""Certificates of the three servers, made on the host by the platform's own authority, and made again in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pulumi

from components.hosts.base import Host
from components.settings import Settings, TlsSettings

END_OF_CERTIFICATE = "-----END CERTIFICATE-----\n"


@dataclass(frozen=True, kw_only=True)
class TlsArgs:
    """Names and validity, and where to make certificates; `after` has made the folders, `today` decides about a renewal."""

    settings: Settings
    host: Host
    after: Sequence[pulumi.Resource]
    today: date


class Tls(pulumi.ComponentResource):
    """Done when each server's certificate is in its folder."""

    # PEM; for whoever connects.
    ca_certificate: pulumi.Output[str]
    # Another text as soon as any certificate is another one: a trigger for those who serve them.
    certificates: pulumi.Output[str]

    def __init__(self, name: str, args: TlsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("central-data-platform:components:Tls", name, {}, opts)
        settings = args.settings
        made = args.host.run(
            f"{name}-certificates",
            "tls.sh",
            settings.srv_root,
            str(settings.tls.days),
            str(settings.tls.renew_before_days),
            str(settings.publish_address),
            *settings.tls.names,
            triggers=[str(renewal_period(settings.tls, args.today))],
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
        )
        self.certificates = made.stdout
        self.ca_certificate = made.stdout.apply(lambda text: "".join(text.partition(END_OF_CERTIFICATE)[:2]))
        self.register_outputs({"caCertificate": self.ca_certificate})


def renewal_period(settings: TlsSettings, today: date) -> int:
    """The number of the period that a day is in: the certificates are looked at by the first `up` of each.

    A command runs again only when something that it was given is another one, and an `up` is to change nothing on most
    days. A period is a quarter of `renewBeforeDays`: whoever runs `up` once in each has at least half of it left.
    """
    return today.toordinal() // max(1, settings.renew_before_days // 4)
