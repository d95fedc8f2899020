"""What Oracle offers: platform images, and shapes."""

import hashlib
from typing import Any, NamedTuple


class Shape(NamedTuple):
    """A flexible shape."""

    architecture: str
    most_ocpus: int
    most_gib: int
    default_gib_per_ocpu: int
    most_gib_per_ocpu: int = 64


SHAPES = {
    "VM.Standard.A1.Flex": Shape("aarch64", 80, 512, 6),
    "VM.Standard.A2.Flex": Shape("aarch64", 78, 946, 6),
    "VM.Standard.A4.Flex": Shape("aarch64", 45, 700, 6),
    "VM.Standard.E4.Flex": Shape("x86_64", 114, 1760, 16),
    "VM.Standard.E5.Flex": Shape("x86_64", 126, 1049, 16),
}

SYSTEM = "Oracle Linux"
_IMAGES = (
    ("9", "Oracle-Linux-9.6-aarch64-2025.09.16-0", "2025-09-18 09:12:31.401 +0000 UTC"),
    ("10", "Oracle-Linux-10.0-aarch64-2025.08.31-0", "2025-09-02 11:40:02.117 +0000 UTC"),
    ("10", "Oracle-Linux-10.0-aarch64-2025.09.16-0", "2025-09-18 10:03:55.820 +0000 UTC"),
    ("10", "Oracle-Linux-10.0-2025.09.16-0", "2025-09-18 10:21:44.032 +0000 UTC"),
)
_NEWER = ("10", "Oracle-Linux-10.1-aarch64-2025.12.03-0", "2025-12-05 08:30:10.250 +0000 UTC")


def images(region: str, newer: bool) -> list[dict[str, Any]]:
    """The platform images of a region, as the API describes them."""
    return [
        {
            "id": _image_id(region, name),
            "displayName": name,
            "operatingSystem": SYSTEM,
            "operatingSystemVersion": version,
            "timeCreated": created,
            "state": "AVAILABLE",
            "launchMode": "NATIVE",
            "createImageAllowed": True,
            "sizeInMbs": "47694",
            "billableSizeInGbs": "3",
            "freeformTags": {},
        }
        for version, name, created in (*_IMAGES, *((_NEWER,) if newer else ()))
    ]


def architecture(image: dict[str, Any]) -> str:
    """What an image runs on; its name says it."""
    return "aarch64" if "-aarch64-" in image["displayName"] else "x86_64"


def image_with(region: str, image_id: str) -> dict[str, Any] | None:
    """An image by its OCID; one that was superseded stays usable."""
    return next((image for image in images(region, newer=True) if image["id"] == image_id), None)


def _image_id(region: str, name: str) -> str:
    return f"ocid1.image.oc1.{region}.{hashlib.sha256(f'{region} {name}'.encode()).hexdigest()[:60]}"
