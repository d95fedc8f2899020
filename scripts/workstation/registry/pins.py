"""What there is to say of one image's pins, and which pins its tag has now."""

from dataclasses import dataclass
from pathlib import Path

from scripts.workstation.registry import signatures
from scripts.workstation.registry.catalogue import ARCHITECTURES, Entry, pinned
from scripts.workstation.registry.client import Absent, Registry
from scripts.workstation.registry.documents import platform_digest
from scripts.workstation.registry.repository import Repository, repository
from scripts.workstation.registry.resolve import Resolved, require_architecture, resolve
from scripts.workstation.trouble import Trouble

SHORT = len("sha256:") + 12


@dataclass(frozen=True)
class Pins:
    """`entry` is what the catalogue should say; `sentence` is for people."""

    entry: Entry
    changed: bool
    sentence: str


def newest(registry: Registry, entry: Entry, tag: str, folder: Path) -> Pins:
    """What the tag stands for now, verified. Raises Trouble where it cannot be pinned. Keys of signatures are below `folder`."""
    where = repository(entry["repository"])
    try:
        resolved = resolve(registry, where, tag, entry["manifests"] or ARCHITECTURES)
    except Absent as absent:
        raise Trouble(f"{absent}; choose a tag that is there") from None
    told = [
        f"for {' and '.join(sorted(resolved.manifests))}",
        *_signed(registry, where, entry, resolved, folder),
    ]
    if resolved.attested:
        told.append("with attestations of its build in the index, which nobody has signed")
    new = pinned(entry, tag, resolved)
    changed = new != entry
    return Pins(new, changed, f"{_difference(entry, new)}, {', '.join(told)}")


def require_pinned(registry: Registry, entry: Entry) -> None:
    """Raises Trouble where a pinned digest is gone, is not of the pinned index, or is no image for its architecture."""
    where = repository(entry["repository"])
    try:
        index = registry.manifest(where, entry["index"]) if entry.get("index") else None
        if index and not index.is_index:
            raise Trouble(f"{index.where} is pinned as an index and is none; run make pin-images")
        for architecture, digest in entry["manifests"].items():
            if index and platform_digest(index, architecture) != digest:
                raise Trouble(
                    f"{digest}, pinned for {architecture}, is not what the pinned index {entry['index']} has for it; run make pin-images"
                )
            require_architecture(registry, where, digest, architecture)
    except Absent as absent:
        raise Trouble(f"{absent}, which is pinned; run make pin-images") from None


def _signed(
    registry: Registry, where: Repository, entry: Entry, resolved: Resolved, folder: Path
) -> list[str]:
    if not entry.get("signature"):
        return []
    key = signatures.public_key(folder / entry["signature"]["key"])
    # The index's signature is for all that it lists.
    digests = [resolved.index] if resolved.index else list(resolved.manifests.values())
    sboms: set[str] = set()
    for digest in digests:
        signatures.verify_signature(registry, where, digest, key)
        sboms |= set(signatures.verified_sboms(registry, where, digest, key))
    # Some publishers attest each architecture's image by itself.
    for digest in resolved.manifests.values():
        sboms |= set(signatures.verified_sboms(registry, where, digest, key))
    return ["signed", f"SBOM attested ({', '.join(sorted(sboms))})" if sboms else "no SBOM attested"]


def _difference(old: Entry, new: Entry) -> str:
    tag = new["tag"]
    if new == old:
        return f"{tag} is as pinned"
    if not old["manifests"]:
        return f"{tag} ({_short(new)}) is pinned for the first time"
    if tag != old["tag"]:
        return f"{tag} ({_short(new)}) in place of {old['tag']}"
    if {**new, "index": None} == {**old, "index": None} and not old.get("index"):
        return f"{tag} has an index ({_short(new)}), which is not pinned yet"
    return f"{tag} has been pushed again: it is {_short(new)} now and was {_short(old)}"


def _short(entry: Entry) -> str:
    digest = entry.get("index") or entry["manifests"].get("arm64") or next(iter(entry["manifests"].values()))
    return f"{digest[:SHORT]}…"
