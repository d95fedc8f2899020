"""What rules may ask of a stack, out of its configuration and its catalogue of images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from policy.model import Stack

CHECKOUT = Path(__file__).resolve().parents[1]


def stack_of(name: str, project: str, config: Mapping[str, str], secret_keys: Sequence[str]) -> Stack:
    """`config` is what the engine has, decrypted, by `project:key`; objects are JSON."""
    plain = {
        key.removeprefix(f"{project}:"): value for key, value in config.items() if key not in secret_keys
    }
    catalogue = plain.get("imageCatalogue") or "images.json"
    return Stack(
        name=name,
        in_oci=_object(plain.get("host", "")).get("kind") == "oci",
        srv_root=plain.get("srvRoot") or "/srv",
        catalogue=catalogue,
        images=_images(catalogue),
        secrets={
            path: value
            for key in secret_keys
            for path, value in _leaves(key.removeprefix(f"{project}:"), config.get(key, ""))
        },
    )


def _images(catalogue: str) -> dict[str, dict[str, str]]:
    """Digests by repository and architecture; none where there is no such file, which the program says better."""
    for folder in (Path.cwd(), CHECKOUT):
        try:
            said = json.loads((folder / catalogue).read_text(encoding="utf-8"))
            # An image of monitoring that nobody has pinned is none that a stack can have.
            return {i["repository"]: dict(i["manifests"]) for i in said.values() if i["manifests"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _leaves(path: str, text: str) -> Iterator[tuple[str, str]]:
    """A secret, or each of the secrets in an object."""
    within = _object(text)
    if not within:
        yield path, text
    for key, value in within.items():
        yield from _leaves(f"{path}.{key}", value if isinstance(value, str) else json.dumps(value))
