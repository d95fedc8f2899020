"""images.json: read as it stands, changed where it must be, and written so that a difference shows nothing else."""

import copy
import json
from pathlib import Path
from typing import Any

from components.settings import ImageCatalogue, SettingsError, parse
from scripts.workstation import atomic
from scripts.workstation.registry.resolve import Resolved
from scripts.workstation.trouble import Trouble

# The order of an image's keys; what stands in the file keeps its place.
ORDER = ("repository", "tag", "index", "manifests", "signature")

Entry = dict[str, Any]

# Of an image that is pinned for the first time.
ARCHITECTURES = ("amd64", "arm64")


def read(path: Path) -> dict[str, Entry]:
    """The images by name, in the file's order. Raises Trouble with a sentence for each fault."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Trouble(
            f"{path} cannot be read ({error}); name a catalogue of images, such as images.json"
        ) from None
    try:
        parse(ImageCatalogue, raw, where=f"{path.name}: ")
    except SettingsError as error:
        raise Trouble(str(error)) from None
    return raw


def pinned(entry: Entry, tag: str, resolved: Resolved) -> Entry:
    """The same entry with other pins. Architectures that a new index adds are not taken up by themselves."""
    new = copy.deepcopy(entry)
    new["tag"] = tag
    wanted = entry["manifests"] or ARCHITECTURES
    new["manifests"] = {a: d for a, d in resolved.manifests.items() if a in wanted or a == "arm64"}
    if set(new["manifests"]) == set(entry["manifests"]):
        new["manifests"] = {a: new["manifests"][a] for a in entry["manifests"]}
    if resolved.index:
        new["index"] = resolved.index
    else:
        new.pop("index", None)
    if set(new) - set(entry):
        return {key: new[key] for key in ORDER if key in new}
    return new


def render(catalogue: dict[str, Entry]) -> str:
    """The file's text."""
    return f"{json.dumps(catalogue, indent=2, ensure_ascii=False)}\n"


def write(path: Path, catalogue: dict[str, Entry]) -> None:
    """The whole file, or the old one."""
    atomic.write(path, render(catalogue))
