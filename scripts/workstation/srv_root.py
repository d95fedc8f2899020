"""Whose a folder is, and where the local stack's own goes."""

import os
from pathlib import Path

from scripts.workstation.paths import ROOT

MARKER = ".central-data-platform"
SYSTEM_FOLDER = Path("/srv")

# A new file system brings it; it is nobody's data.
_NOBODYS = {"lost+found"}


def default(stack: str, system_folder: Path = SYSTEM_FOLDER, *, root: bool | None = None) -> Path:
    """/srv for root where it is empty or the stack's, else an ignored folder of the checkout."""
    as_root = os.geteuid() == 0 if root is None else root
    if as_root and owner_of(system_folder) in (stack, ""):
        return system_folder
    return ROOT / "srv"


def owner_of(folder: Path) -> str | None:
    """The stack whose marker a folder bears; empty for an empty or missing folder, None where it holds something else."""
    try:
        marker = (folder / MARKER).read_text(encoding="utf-8").splitlines()
        return marker[0] if marker else None
    except FileNotFoundError:
        pass
    except OSError:
        return None
    try:
        return None if {entry.name for entry in folder.iterdir()} - _NOBODYS else ""
    except FileNotFoundError:
        return ""
    except OSError:
        return None
