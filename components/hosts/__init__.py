"""Where containers run. A component asks for a Host and never learns which one it got."""

from typing import assert_never

import pulumi

from components.hosts.base import Host
from components.hosts.local import LocalHost
from components.settings import HostSettings, LocalHostSettings, OciHostSettings

__all__ = ["Host", "LocalHost", "open_host"]


def open_host(name: str, settings: HostSettings, opts: pulumi.ResourceOptions | None = None) -> Host:
    """The one place that tells hosts apart. Raises pulumi.RunError for a host that cannot be made yet."""
    match settings:
        case LocalHostSettings():
            return LocalHost(name, settings, opts)
        case OciHostSettings():
            raise pulumi.RunError(
                "central-data-platform:host.kind is 'oci', which this version cannot make yet; "
                "use the stack `local`, or write {kind: local} on the machine itself"
            )
        case _:
            assert_never(settings)
