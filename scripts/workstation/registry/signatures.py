"""Signatures and attestations as cosign keeps them: beside the image, under tags made of its digest."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from scripts.workstation.registry.client import Absent, Registry
from scripts.workstation.registry.documents import Document
from scripts.workstation.registry.repository import Repository
from scripts.workstation.trouble import Trouble

PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
PAYLOAD_KIND = "cosign container image signature"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"
# Each is followed by its version, or by nothing.
SBOM_KINDS = {"https://spdx.dev/Document": "SPDX", "https://cyclonedx.org/bom": "CycloneDX"}

Key = ec.EllipticCurvePublicKey


def public_key(path: Path) -> Key:
    """The publisher's key, as `cosign public-key` prints it. Raises Trouble where the file is none."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Trouble(
            f"{path} cannot be read as a public key in PEM ({error}); put the publisher's there"
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Trouble(
            f"{path} is no ECDSA key on P-256, the kind that cosign makes; put the publisher's there"
        )
    return key


def verify_signature(registry: Registry, repository: Repository, digest: str, key: Key) -> None:
    """Raises Trouble where no signature of the digest was made with the key."""
    where = f"{repository.name}@{digest}"
    beside = _beside(registry, repository, digest, "sig")
    if beside is None:
        raise Trouble(
            f"{where} is not signed, and the catalogue names a key for it; choose another tag, or ask its publisher"
        )
    for layer in _layers(beside, PAYLOAD_TYPE):
        payload = registry.blob(repository, str(layer.get("digest")))
        signature = _base64((layer.get("annotations") or {}).get(SIGNATURE_ANNOTATION))
        if _signed(key, signature, payload) and _is_of(payload, digest):
            return
    raise Trouble(
        f"no signature of {where} is by the key that the catalogue names for it; do not use this image before its publisher has said why"
    )


def verified_sboms(registry: Registry, repository: Repository, digest: str, key: Key) -> list[str]:
    """The kinds of SBOM that are attested with the key; none where there are no attestations.

    Raises Trouble where there are some, and the key has made none of them.
    """
    beside = _beside(registry, repository, digest, "att")
    if beside is None:
        return []
    statements = [
        statement
        for layer in _layers(beside, ENVELOPE_TYPE)
        if (statement := _statement(registry.blob(repository, str(layer.get("digest"))), key))
    ]
    ours = [statement for statement in statements if digest in _subjects(statement)]
    if not ours:
        raise Trouble(
            f"no attestation of {repository.name}@{digest} is by the key that the catalogue names for it; "
            "do not use this image before its publisher has said why"
        )
    kinds = [_sbom_kind(str(statement.get("predicateType", ""))) for statement in ours]
    return sorted({kind for kind in kinds if kind})


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE envelope's signature is made of."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _beside(registry: Registry, repository: Repository, digest: str, suffix: str) -> Document | None:
    try:
        return registry.manifest(repository, f"{digest.replace(':', '-')}.{suffix}")
    except Absent:
        return None


def _layers(manifest: Document, media_type: str) -> Iterator[Mapping[str, Any]]:
    layers = manifest.content.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and layer.get("mediaType") == media_type:
            yield layer


def _signed(key: Key, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _is_of(payload: bytes, digest: str) -> bool:
    try:
        critical = json.loads(payload)["critical"]
        return critical["image"]["docker-manifest-digest"] == digest and critical["type"] == PAYLOAD_KIND
    except (ValueError, KeyError, TypeError):
        return False


def _statement(envelope: bytes, key: Key) -> Mapping[str, Any] | None:
    """What the key has signed, or None."""
    try:
        said = json.loads(envelope)
        payload = _base64(said["payload"])
        encoded = pre_authentication_encoding(said["payloadType"], payload)
        signatures = [_base64(signature["sig"]) for signature in said["signatures"]]
        if said["payloadType"] != STATEMENT_TYPE or not any(_signed(key, s, encoded) for s in signatures):
            return None
        statement = json.loads(payload)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return statement if isinstance(statement, dict) else None


def _subjects(statement: Mapping[str, Any]) -> set[str]:
    try:
        return {f"sha256:{subject['digest']['sha256']}" for subject in statement["subject"]}
    except (KeyError, TypeError):
        return set()


def _sbom_kind(predicate_type: str) -> str | None:
    return next((kind for start, kind in SBOM_KINDS.items() if predicate_type.startswith(start)), None)


def _base64(text: Any) -> bytes:
    """The bytes, or none where it is not base64: nothing is signed by them."""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except binascii.Error:
        return b""
