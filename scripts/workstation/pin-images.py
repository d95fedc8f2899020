"""`make pin-images`: bring the catalogue of images to what the registries have, or, with --check, say where they differ.

    pin-images.py [--check] [--catalogue FILE] [NAME=TAG...]

Exit codes: 0 when all is as it should be, 1 for a fault and, with --check, for a difference, 2 for wrong usage.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

if not __package__:
    # Started as a file, not as a module of the checkout.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.workstation.paths import ROOT
from scripts.workstation.registry import catalogue, pins
from scripts.workstation.registry.client import Registry
from scripts.workstation.trouble import Trouble, command


def main() -> int:
    """Read, ask, print a sentence for each image, and write only if none of them failed."""
    options = parser().parse_args()
    images = catalogue.read(options.catalogue)
    tags = wanted_tags(images, options.tags)
    registry, new, failed, differs = Registry(), dict(images), False, False
    for name, entry in images.items():
        if options.check and not entry["manifests"]:
            print(
                f"{name}: {entry['tag']} is not pinned, so monitoring cannot be turned on; make pin-images pins it"
            )
            continue
        try:
            if options.check:
                pins.require_pinned(registry, entry)
            found = pins.newest(registry, entry, tags[name], options.catalogue.resolve().parent)
        except Trouble as trouble:
            failed = True
            print(f"{name}: {trouble}", file=sys.stderr)
            continue
        new[name], differs = found.entry, differs or found.changed
        print(f"{name}: {found.sentence}")
    if failed:
        raise Trouble(
            "not every image is in order; see the lines above"
            + ("" if options.check else ", nothing was written")
        )
    if differs and options.check:
        raise Trouble(
            f"{options.catalogue} is not what the registries have; run make pin-images, and read the difference"
        )
    if differs:
        catalogue.write(options.catalogue, new)
        print(
            f"{options.catalogue} is written; look at the difference, and let the tests run on it before it is merged"
        )
    return 0


def parser() -> argparse.ArgumentParser:
    """What may be said on the command line."""
    words = argparse.ArgumentParser(
        prog="pin-images",
        description="Compare the catalogue of images with the registries, and write what is newer.",
    )
    words.add_argument(
        "--check", action="store_true", help="change nothing, exit with 1 where something differs"
    )
    words.add_argument("--catalogue", type=Path, default=ROOT / "images.json", metavar="FILE")
    words.add_argument("tags", nargs="*", metavar="NAME=TAG", help="another tag, such as postgres=17.12")
    return words


def wanted_tags(images: Mapping[str, catalogue.Entry], said: list[str]) -> dict[str, str]:
    """The tag of each image. Raises Trouble where a word names none."""
    tags = {name: str(entry["tag"]) for name, entry in images.items()}
    for word in said:
        name, _, tag = word.partition("=")
        if name not in tags or not tag:
            raise Trouble(
                f"{word} is not NAME=TAG; the names are {', '.join(tags)}, such as postgres=17.12", code=2
            )
        tags[name] = tag
    return tags


if __name__ == "__main__":
    command(main)
