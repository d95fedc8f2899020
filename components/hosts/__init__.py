"""Where containers run. A component asks for a Host and never learns which one it got."""

from typing import assert_never

import pulumi

from components.host_settings import LocalHostSettings, OciHostSettings
from components.hosts.base import Host
from components.hosts.local import LocalHost
from components.settings import Settings

__all__ = ["Host", "LocalHost", "open_host"]


def open_host(name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> Host:
    """The one place that tells hosts apart."""
    match settings.host:
        case LocalHostSettings():
            return LocalHost(name, settings.host, opts)
        case OciHostSettings():
            # Only here: its package takes seconds to load.
            from components.hosts.oci import OciHost

            return OciHost(name, settings.host, settings, opts)
        case _:
            assert_never(settings.host)
