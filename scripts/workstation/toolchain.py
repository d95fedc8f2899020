"""The Pulumi CLI with its Python language host: on PATH, else the vendor's release, else built from Go modules."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.workstation import atomic, go_build, release
from scripts.workstation.paths import CACHE
from scripts.workstation.pinned import TOOLCHAIN, content_key, pinned_version, pulumi_version
from scripts.workstation.progress import Step
from scripts.workstation.shell import answer
from scripts.workstation.trouble import Trouble

# Resource hooks that may retry came with it.
MINIMUM: tuple[int, int] = (3, 219)
_SDK = "github.com/pulumi/pulumi/sdk/v3"
# What the CLI starts for a Python program, and for what that program makes by itself (dynamic resources).
HELPERS = ("pulumi-language-python", "pulumi-resource-pulumi-python")
# Scripts of the SDK that belong beside a CLI built from Go modules: one that the language host runs, and the second helper.
_SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """Where `pulumi` is; `folder` is None when it is on PATH already. `source` says which of the three ways it came."""

    folder: Path | None
    version: str
    source: str


def parse_version(text: str) -> tuple[int, int] | None:
    """Major and minor of `pulumi version`'s answer."""
    found = re.match(r"v?(\d+)\.(\d+)\.\d+", text.strip())
    return (int(found.group(1)), int(found.group(2))) if found else None


def find_or_make(step: Step) -> Toolchain:
    """The toolchain, made in the cache on the first need."""
    found = _on_path()
    if isinstance(found, Toolchain):
        step.result(f"Pulumi {found.version} from PATH")
        return found
    rejected: str = found
    version = pulumi_version()
    cache = CACHE / "toolchain"
    released = cache / f"pulumi-{version}"
    built = cache / f"pulumi-{version}-{content_key('pulumi')}"
    if all((released / name).exists() for name in release.WANTED):
        step.result(f"Pulumi {version} from the cache")
        return Toolchain(folder=released, version=version, source="release")
    if (built / "pulumi").exists():
        _complete(built)
        step.result(f"Pulumi {version} from the cache")
        return Toolchain(folder=built, version=version, source="built")
    try:
        step.expect(f"{rejected}; downloading Pulumi {version} (about a minute)")
        release.download(version, released)
    except release.NotToBeHad as reason:
        return _build(step, version, built, str(reason))
    step.result(f"Pulumi {version} downloaded, checksum verified")
    return Toolchain(folder=released, version=version, source="release")


def _on_path() -> Toolchain | str:
    """What PATH has, or why it will not do."""
    if shutil.which("pulumi") is None:
        return "no pulumi on PATH"
    version = answer(
        ["pulumi", "version"], environment={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    ).stdout.strip()
    parsed = parse_version(version)
    if parsed is None or parsed < MINIMUM:
        return f"the pulumi on PATH is {version or 'broken'}, older than {MINIMUM[0]}.{MINIMUM[1]}"
    if lacking := [name for name in HELPERS if shutil.which(name) is None]:
        return f"the pulumi on PATH ({version}) comes without {' and '.join(lacking)}"
    return Toolchain(folder=None, version=version, source="PATH")


def _complete(folder: Path) -> None:
    """Add what a folder lacks that another checkout has built."""
    _add_language_host(folder)
    if all((folder / Path(script).name).exists() for script in _SCRIPTS):
        return
    go_build.require_go(f"the Pulumi in {folder} lacks scripts of its SDK, which come as a Go module")
    _add_scripts(folder)


def _add_language_host(folder: Path) -> None:
    """Ours: the published one is a Go module that nobody serves."""
    text = (TOOLCHAIN / "language-python" / "host.py").read_text(encoding="utf-8")
    path = folder / HELPERS[0]
    if not path.exists() or path.read_bytes() != text.encode():
        atomic.write(path, text, 0o755)


def _add_scripts(folder: Path) -> None:
    sdk = go_build.module_folder(_SDK, pinned_version("pulumi", _SDK))
    for script in _SCRIPTS:
        text = (sdk / script).read_text(encoding="utf-8")
        atomic.write(folder / Path(script).name, text, 0o755)


def _build(step: Step, version: str, destination: Path, reason: str) -> Toolchain:
    go_build.require_go(
        f"Pulumi is neither on PATH nor to be downloaded ({reason}); install Pulumi {MINIMUM[0]}.{MINIMUM[1]} or newer, or Go to build it"
    )
    step.expect(f"({reason}) building Pulumi {version} from Go modules (about 5 minutes, once)")
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".build-"))
    try:
        go_build.build(
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            work / "pulumi",
            stamps=(f"{_SDK}/go/common/version.Version={version}",),
        )
        _add_language_host(work)
        _add_scripts(work)
        work.chmod(0o755)
        shutil.rmtree(destination, ignore_errors=True)
        work.rename(destination)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    said = answer([str(destination / "pulumi"), "version"])
    if said.stdout.strip() != version:
        raise Trouble(
            f"the pulumi built in {destination} does not run: {said.stderr.strip() or said.stdout.strip()}"
        )
    step.result(f"Pulumi {version} built from Go modules")
    return Toolchain(folder=destination, version=version, source="built")
