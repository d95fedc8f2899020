"""Manifests and indexes, as Docker and OCI write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.workstation.trouble import Trouble

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
# What BuildKit puts beside an image into its index.
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
ATTESTATION = "attestation-manifest"
# Of one architecture, the variant that every such machine runs.
PLAIN_VARIANTS = {"amd64": ("", "v1"), "arm64": ("", "v8")}


@dataclass(frozen=True)
class Document:
    """What a registry serves under a digest; `where` is for sentences."""

    where: str
    digest: str
    content: Mapping[str, Any]

    @property
    def is_index(self) -> bool:
        """Whether it is a list of manifests, and no image itself."""
        return "manifests" in self.content


def document(where: str, digest: str, media_type: str, content: Any) -> Document:
    """A manifest or an index. Raises Trouble for anything else, and for what could be read as both."""
    if not isinstance(content, dict) or ("manifests" in content) == ("config" in content):
        raise Trouble(f"{where} is neither an image's manifest nor an index of them; choose another tag")
    made = Document(where, digest, content)
    said = {content.get("mediaType", media_type), media_type.partition(";")[0].strip()}
    known = INDEX_TYPES if made.is_index else MANIFEST_TYPES
    if not said <= set(known) or content.get("schemaVersion") != 2:
        raise Trouble(
            f"{where} is of the kind {', '.join(sorted(map(str, said)))}, which is not known here; choose another tag"
        )
    return made


def config_digest(manifest: Document) -> str:
    """The digest of an image's configuration."""
    return _digest(manifest, manifest.content["config"])


def platform_digest(index: Document, architecture: str) -> str | None:
    """The digest of linux on an architecture, or None. Raises Trouble where there are several that differ."""
    found = {_digest(index, entry) for entry in _entries(index) if _is_for(entry, architecture)}
    if len(found) > 1:
        raise Trouble(
            f"{index.where} has {len(found)} manifests for linux/{architecture}, and nothing tells which is meant; choose another tag"
        )
    return next(iter(found), None)


def platforms(index: Document) -> list[str]:
    """What an index is for, such as linux/amd64."""
    found = [_platform(entry) for entry in _entries(index) if not _is_attestation(entry)]
    return sorted({f"{p.get('os', '?')}/{p.get('architecture', '?')}" for p in found})


def attested(index: Document) -> set[str]:
    """The digests of the manifests to which BuildKit has added attestations. They are of the index, and signed by nobody."""
    return {
        str(entry["annotations"].get(REFERENCE_DIGEST)) for entry in _entries(index) if _is_attestation(entry)
    }


def _entries(index: Document) -> Sequence[Mapping[str, Any]]:
    entries = index.content["manifests"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Trouble(f"{index.where} is an index whose list cannot be read; choose another tag")
    return entries


def _platform(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entry.get("platform")
    return found if isinstance(found, dict) else {}


def _is_for(entry: Mapping[str, Any], architecture: str) -> bool:
    platform = _platform(entry)
    return (
        (platform.get("os"), platform.get("architecture")) == ("linux", architecture)
        and platform.get("variant", "") in PLAIN_VARIANTS[architecture]
        and not _is_attestation(entry)
    )


def _is_attestation(entry: Mapping[str, Any]) -> bool:
    annotations = entry.get("annotations")
    return isinstance(annotations, dict) and annotations.get(REFERENCE_TYPE) == ATTESTATION


def _digest(document: Document, descriptor: Any) -> str:
    found = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(found, str) or not found.startswith("sha256:"):
        raise Trouble(f"{document.where} names something without a sha256 digest; choose another tag")
    return found
