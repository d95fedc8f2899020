"""The Pulumi CLI with its Python language host: on PATH, else the vendor's release, else built from Go modules."""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.workstation import go_build, release
from scripts.workstation.paths import CACHE
from scripts.workstation.pinned import content_key, pinned_version, pulumi_version
from scripts.workstation.progress import Step
from scripts.workstation.shell import answer
from scripts.workstation.trouble import Trouble

# Resource hooks that may retry came with it.
MINIMUM: tuple[int, int] = (3, 219)
_SDK = "github.com/pulumi/pulumi/sdk/v3"


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
    built = cache / f"pulumi-{version}-{content_key('pulumi', 'language-python')}"
    for folder, source in ((released, "release"), (built, "built")):
        if (folder / "pulumi").exists():
            step.result(f"Pulumi {version} from the cache")
            return Toolchain(folder=folder, version=version, source=source)
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
    if shutil.which("pulumi-language-python") is None:
        return f"the pulumi on PATH ({version}) comes without pulumi-language-python"
    return Toolchain(folder=None, version=version, source="PATH")


def _build(step: Step, version: str, destination: Path, reason: str) -> Toolchain:
    go_build.require_go(
        f"Pulumi is neither on PATH nor to be downloaded ({reason}); install Pulumi {MINIMUM[0]}.{MINIMUM[1]} or newer, or Go to build it"
    )
    step.expect(f"({reason}) building Pulumi {version} from Go modules (about 5 minutes, once)")
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".build-"))
    try:
        go_build.build(
            "language-python", f"{_SDK}/python/cmd/pulumi-language-python", work / "pulumi-language-python"
        )
        go_build.build(
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            work / "pulumi",
            stamps=(f"{_SDK}/go/common/version.Version={version}",),
        )
        # The language host runs this script, which is of the SDK's newer version.
        script = (
            go_build.module_folder(_SDK, pinned_version("pulumi", _SDK))
            / "python/cmd/pulumi-language-python-exec"
        )
        shutil.copyfile(script, work / script.name)
        (work / script.name).chmod(0o755)
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
