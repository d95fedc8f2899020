"""The images, looked at on the host before anything is made of them."""

from collections.abc import Sequence

import pulumi

from components.container import image_for
from components.hosts.base import Host, HostCommand
from components.settings import PLATFORM_IMAGES, ImageCatalogue


def checked_images(
    name: str,
    host: Host,
    catalogue: ImageCatalogue,
    further: Sequence[str],
    opts: pulumi.ResourceOptions,
) -> HostCommand:
    """Done when the host has the platform's images and `further` ones of the catalogue, and each one's own configuration is for
    the host's architecture."""
    wanted = [image_for(host, catalogue.named(image)) for image in (*PLATFORM_IMAGES, *further)]
    return host.run(name, "check-images.sh", host.architecture, *wanted, opts=opts)
