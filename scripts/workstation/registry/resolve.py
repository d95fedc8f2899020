"""From a tag to digests that may be pinned: each leads to an image whose own configuration says the right architecture."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scripts.workstation.registry.client import Registry
from scripts.workstation.registry.documents import (
    Document,
    attested,
    config_digest,
    platform_digest,
    platforms,
)
from scripts.workstation.registry.repository import Repository
from scripts.workstation.trouble import Trouble

# Production is on it.
REQUIRED = "arm64"


@dataclass(frozen=True)
class Resolved:
    """What a tag or an index stands for. `index` is None for an image of one architecture, `attested` is by BuildKit."""

    index: str | None
    manifests: dict[str, str]
    attested: set[str] = field(default_factory=set[str])


def resolve(
    registry: Registry, repository: Repository, reference: str, architectures: Iterable[str]
) -> Resolved:
    """The digests for the architectures. Raises Trouble where one of them, or arm64, is not there or is not what it says."""
    found = registry.manifest(repository, reference)
    if not found.is_index:
        return _single(registry, repository, found)
    manifests: dict[str, str] = {}
    for architecture in sorted({*architectures, REQUIRED}):
        digest = platform_digest(found, architecture)
        if digest is None:
            raise Trouble(
                f"{found.where} has no image for linux/{architecture}, only for {', '.join(platforms(found)) or 'nothing'}; "
                "choose a tag that has"
            )
        require_architecture(registry, repository, digest, architecture)
        manifests[architecture] = digest
    with_attestations = attested(found)
    return Resolved(found.digest, manifests, {a for a, d in manifests.items() if d in with_attestations})


def require_architecture(
    registry: Registry, repository: Repository, digest: str, architecture: str
) -> Document:
    """The manifest, whose configuration says linux and the architecture. Raises Trouble where it says another."""
    manifest = registry.manifest(repository, digest)
    if manifest.is_index:
        raise Trouble(
            f"{manifest.where} is an index, where the image for linux/{architecture} should be; choose another tag"
        )
    said = _platform(registry, repository, manifest)
    if said != f"linux/{architecture}":
        raise Trouble(
            f"{manifest.where} should be for linux/{architecture}, and its own configuration says {said}; do not use this image"
        )
    return manifest


def _single(registry: Registry, repository: Repository, manifest: Document) -> Resolved:
    said = _platform(registry, repository, manifest)
    if said != f"linux/{REQUIRED}":
        raise Trouble(
            f"{manifest.where} is one image, for {said} alone, and linux/{REQUIRED} is needed; choose a tag that is built for it"
        )
    return Resolved(None, {REQUIRED: manifest.digest})


def _platform(registry: Registry, repository: Repository, manifest: Document) -> str:
    config = registry.config(repository, config_digest(manifest))
    return f"{config.get('os', '?')}/{config.get('architecture', '?')}"
