#!/usr/bin/env python3
"""Packs a root file system as a container image, pushes it to a registry, and writes the image catalogue.

Standard library only: it runs before the project's virtual environment exists.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import json
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
LABEL = "central-data-platform."
CHUNK = 1 << 20
# What no image changes may not change its digest either.
CREATED = "2025-01-01T00:00:00Z"


class ImageError(Exception):
    """What went wrong, as one sentence for whoever called the script."""


class Blob(NamedTuple):
    """A file of an image and how a manifest names it."""

    path: Path
    media_type: str
    digest: str
    size: int

    def descriptor(self) -> dict[str, Any]:
        """The entry of this file in a manifest."""
        return {"mediaType": self.media_type, "size": self.size, "digest": self.digest}


def sha256(data: bytes) -> str:
    """The digest of some bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def to_json(value: object) -> bytes:
    """The same bytes for the same value, always: a digest is taken of them."""
    return json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"


def upstream_version(debian_version: str) -> str:
    """The version of the program itself: `5:7.0.15-1~deb12u5` is 7.0.15."""
    return debian_version.split(":", 1)[-1].rsplit("-", 1)[0]


def installed_packages(listing: str) -> dict[str, str]:
    """Package name to version, from the output of `dpkg-query -W`."""
    lines = (line.split("\t") for line in listing.splitlines())
    return {name.split(":")[0]: version for name, version in lines if version}


def image_config(
    definition: dict[str, Any],
    packages: dict[str, str],
    architecture: str,
    diff_id: str,
    extra_labels: dict[str, str],
) -> dict[str, Any]:
    """The image's configuration: how to run it, and in labels which packages it holds."""
    package = definition["package"]
    package_version = packages[package]
    version = upstream_version(package_version)
    named = [package, *definition["packages"]]
    config = dict(definition["config"])
    config["Env"] = [
        entry.replace("{package_version}", package_version).replace("{version}", version)
        for entry in config["Env"]
    ]
    config["Labels"] = {
        "org.opencontainers.image.version": version,
        LABEL + "stands-in-for": definition["stands_in_for"],
        LABEL + "debian-suite": definition["suite"],
        LABEL + "debian-packages": " ".join(f"{name}={packages[name]}" for name in sorted(named)),
        **extra_labels,
    }
    return {
        "architecture": architecture,
        **({"variant": "v8"} if architecture == "arm64" else {}),
        "os": "linux",
        "created": CREATED,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": CREATED, "created_by": f"Debian {definition['suite']}: {package}"}],
    }


def compress(source: Path, target: Path) -> tuple[str, Blob]:
    """Compresses a tar archive; returns the digest of the archive and the compressed layer."""
    plain = hashlib.sha256()
    with (
        source.open("rb") as archive,
        target.open("wb") as out,
        # mtime and name of the archive are part of a gzip file; level 1, since the way is short.
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=out, mtime=0) as packed,
    ):
        while chunk := archive.read(CHUNK):
            plain.update(chunk)
            packed.write(chunk)
    return f"sha256:{plain.hexdigest()}", read_blob(target, LAYER_TYPE)


def read_blob(path: Path, media_type: str) -> Blob:
    """A file with its digest and size."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(path, media_type, f"sha256:{digest}", path.stat().st_size)


def write_variant(folder: Path, suffix: str, config: dict[str, Any], layer: Blob) -> None:
    """Writes configuration and manifest of one variant of an image."""
    config_path = folder / f"config{suffix}.json"
    config_path.write_bytes(to_json(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": read_blob(config_path, CONFIG_TYPE).descriptor(),
        "layers": [layer.descriptor()],
    }
    (folder / f"manifest{suffix}.json").write_bytes(to_json(manifest))


def pack(definition_path: Path, folder: Path, architecture: str) -> None:
    """Makes an image of `folder`'s root.tar and packages.txt, and a second one that only its digest tells apart."""
    definition = json.loads(definition_path.read_text())
    packages = installed_packages((folder / "packages.txt").read_text())
    diff_id, layer = compress(folder / "root.tar", folder / "layer.tar.gz")
    for suffix, labels in (("", {}), ("-next", {LABEL + "variant": "next"})):
        write_variant(
            folder, suffix, image_config(definition, packages, architecture, diff_id, labels), layer
        )


class Registry:
    """A registry on this machine that is spoken to without TLS."""

    def __init__(self, address: str) -> None:
        """`address` is host:port."""
        self.address = address

    def request(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self.address, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            response.read()
        except OSError as error:
            raise ImageError(f"the registry on {self.address} does not answer: {error}") from error
        finally:
            connection.close()
        return response

    def has(self, path: str) -> bool:
        """Whether a blob or manifest is there."""
        return self.request("HEAD", path, headers={"Accept": MANIFEST_TYPE}).status == 200

    def push_blob(self, repository: str, blob: Blob) -> None:
        """Uploads a blob in one piece unless it is there."""
        if self.has(f"/v2/{repository}/blobs/{blob.digest}"):
            return
        begun = self.request("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
        location = begun.headers.get("Location")
        if begun.status != 202 or location is None:
            raise ImageError(
                f"the registry on {self.address} refuses an upload to {repository}: {begun.status}"
            )
        target = location.removeprefix(f"http://{self.address}")
        target += ("&" if "?" in target else "?") + f"digest={blob.digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        with blob.path.open("rb") as content:
            status = self.request("PUT", target, content, headers).status
        if status != 201:
            raise ImageError(f"the registry on {self.address} refuses {blob.path} for {repository}: {status}")

    def push(self, repository: str, tag: str, folder: Path, suffix: str) -> str:
        """Uploads an image unless it is there; returns its digest as the registry serves it."""
        content = (folder / f"manifest{suffix}.json").read_bytes()
        digest = sha256(content)
        if self.has(f"/v2/{repository}/manifests/{digest}") and self.has(f"/v2/{repository}/manifests/{tag}"):
            return digest
        self.push_blob(repository, read_blob(folder / "layer.tar.gz", LAYER_TYPE))
        self.push_blob(repository, read_blob(folder / f"config{suffix}.json", CONFIG_TYPE))
        answer = self.request(
            "PUT", f"/v2/{repository}/manifests/{tag}", content, {"Content-Type": MANIFEST_TYPE}
        )
        if answer.status != 201 or answer.headers.get("Docker-Content-Digest") != digest:
            raise ImageError(f"the registry on {self.address} refuses {repository}:{tag}: {answer.status}")
        return digest


def push_all(images: Path, names: list[str], address: str, suffix: str) -> dict[str, Any]:
    """Pushes the images in `images`, and returns the catalogue that names them."""
    registry = Registry(address)
    catalogue = {}
    for name in names:
        folder = images / name
        # Only what differs from the first image has a variant of its own.
        variant = suffix if name == "postgres" else ""
        config = json.loads((folder / f"config{variant}.json").read_text())
        # Debian's versions may have a plus sign, and a tag may not.
        tag = config["config"]["Labels"]["org.opencontainers.image.version"].replace("+", "-") + variant
        digest = registry.push(name, tag, folder, variant)
        catalogue[name] = {
            "repository": f"{address}/{name}",
            "tag": tag,
            "manifests": {config["architecture"]: digest},
        }
    return catalogue


def write_catalogue(path: Path, catalogue: dict[str, Any]) -> None:
    """Replaces a catalogue file in one step, and only when it changes."""
    content = to_json(catalogue)
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)


def references(catalogue: Path) -> None:
    """Prints what an engine has to pull to have the images of a catalogue."""
    for entry in json.loads(catalogue.read_text()).values():
        for digest in entry["manifests"].values():
            print(f"{entry['repository']}@{digest}")


def describe(images: Path, names: list[str]) -> None:
    """Says on one line each what the images are."""
    for name in names:
        labels = json.loads((images / name / "config.json").read_text())["config"]["Labels"]
        version = labels["org.opencontainers.image.version"]
        print(f"{name}: {version} from Debian packages in place of {labels[LABEL + 'stands-in-for']}")


def main(arguments: list[str]) -> None:
    """Runs one of the script's actions."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    field = actions.add_parser("field", help="print a field of an image definition; lists with commas")
    field.add_argument("definition", type=Path)
    field.add_argument("name")
    packing = actions.add_parser("pack", help="make an image of DIR's root.tar and packages.txt")
    packing.add_argument("definition", type=Path)
    packing.add_argument("folder", type=Path)
    packing.add_argument("--architecture", required=True)
    pushing = actions.add_parser("push", help="push images, write the catalogue that names them")
    pushing.add_argument("images", type=Path)
    pushing.add_argument("catalogue", type=Path)
    pushing.add_argument("names", nargs="+")
    pushing.add_argument("--registry", required=True)
    pushing.add_argument("--suffix", default="")
    referencing = actions.add_parser("references", help="print the images of a catalogue by digest")
    referencing.add_argument("catalogue", type=Path)
    describing = actions.add_parser("describe", help="say what the images are")
    describing.add_argument("images", type=Path)
    describing.add_argument("names", nargs="+")
    options = parser.parse_args(arguments)
    if options.action == "field":
        value = json.loads(options.definition.read_text())[options.name]
        print(",".join(value) if isinstance(value, list) else value)
    elif options.action == "pack":
        pack(options.definition, options.folder, options.architecture)
    elif options.action == "push":
        write_catalogue(
            options.catalogue, push_all(options.images, options.names, options.registry, options.suffix)
        )
    elif options.action == "references":
        references(options.catalogue)
    else:
        describe(options.images, options.names)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ImageError, OSError) as error:
        sys.exit(f"oci.py: {error}")
