"""The versions of the toolchain, read where they are pinned: sandbox/toolchain/*/go.mod."""

import hashlib
import re
from pathlib import Path

from scripts.workstation.paths import ROOT
from scripts.workstation.trouble import Trouble

TOOLCHAIN = ROOT / "sandbox" / "toolchain"


def module_version(go_mod: str, module: str) -> str:
    """The version, with its v, that a go.mod's text requires of a module. Raises Trouble where it names none."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise Trouble(f"go.mod does not require {module}; restore sandbox/toolchain from git")
    return found.group(1)


def pinned_version(folder: str, module: str) -> str:
    """The version of `module` in sandbox/toolchain/<folder>."""
    return module_version((TOOLCHAIN / folder / "go.mod").read_text(encoding="utf-8"), module)


def pulumi_version() -> str:
    """The CLI's version, such as v3.259.0."""
    return pinned_version("pulumi", "github.com/pulumi/pulumi/pkg/v3")


def compose_version() -> str:
    """docker compose's version, such as v5.0.1."""
    return pinned_version("compose", "github.com/docker/compose/v5")


def actionlint_version() -> str:
    """actionlint's version, such as v1.7.12."""
    return pinned_version("actionlint", "github.com/rhysd/actionlint")


def content_key(*folders: str) -> str:
    """A short hash of the folders' go.mod and go.sum: what is built from them is kept under it."""
    digest = hashlib.sha256()
    for folder in folders:
        for name in ("go.mod", "go.sum"):
            digest.update(Path(TOOLCHAIN / folder / name).read_bytes())
    return digest.hexdigest()[:12]
