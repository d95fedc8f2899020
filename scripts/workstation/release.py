"""The vendor's release of the Pulumi CLI: downloaded, checked against the published checksums, unpacked into the cache."""

import hashlib
import os
import platform
import shutil
import tarfile
import tempfile
from pathlib import Path

from scripts.workstation import network
from scripts.workstation.trouble import Trouble

BASE_URL = "https://get.pulumi.com/releases/sdk"
# All that a Python program needs of an archive that holds every language's host.
WANTED = (
    "pulumi",
    "pulumi-language-python",
    "pulumi-language-python-exec",
    "pulumi-resource-pulumi-python",
)
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


class NotToBeHad(Exception):
    """The release cannot be had from here; another way may."""


def base_url() -> str:
    """Where releases are: the vendor's, or a mirror named by CDP_PULUMI_RELEASES."""
    return (os.environ.get("CDP_PULUMI_RELEASES") or BASE_URL).rstrip("/")


def archive_name(version: str, system: str, machine: str) -> str:
    """The archive's name for a system. Raises NotToBeHad where the vendor builds none."""
    known = _MACHINES.get(machine.lower())
    if system not in ("Linux", "Darwin") or known is None:
        raise NotToBeHad(f"there is no release of Pulumi for {system} on {machine}")
    return f"pulumi-{version}-{system.lower()}-{known}.tar.gz"


def checksum_of(listing: str, name: str) -> str | None:
    """A file's sha256 in a published list of `checksum  name` lines."""
    for line in listing.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].lstrip("*") == name:
            return words[0].lower()
    return None


def download(version: str, destination: Path) -> None:
    """Put the CLI of `version` (with its v) into the folder `destination`, whole or not at all.

    Raises NotToBeHad where the download site does not serve it to us, and Trouble where what came is not what was published.
    """
    archive = archive_name(version, platform.system(), platform.machine())
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".release-"))
    try:
        checksum = _published_checksum(version, archive, work / "checksums")
        _download_archive(archive, checksum, work / archive)
        unpacked = work / "unpacked"
        _unpack(work / archive, unpacked)
        shutil.rmtree(destination, ignore_errors=True)
        unpacked.rename(destination)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _published_checksum(version: str, archive: str, path: Path) -> str:
    url = f"{base_url()}/pulumi-{version.removeprefix('v')}-checksums.txt"
    try:
        network.fetch(url, path)
    except (network.Unreachable, network.Refused, network.CutOff) as error:
        raise NotToBeHad(str(error)) from None
    checksum = checksum_of(path.read_text(encoding="utf-8", errors="replace"), archive)
    if checksum is None:
        raise Trouble(
            f"{url} has no checksum of {archive}; install Pulumi {version} by hand and put it on PATH"
        )
    return checksum


def _download_archive(archive: str, checksum: str, path: Path) -> None:
    url = f"{base_url()}/{archive}"
    try:
        network.fetch(url, path)
    except (network.Unreachable, network.Refused) as error:
        raise NotToBeHad(str(error)) from None
    except network.CutOff as error:
        raise Trouble(f"the download of Pulumi was cut off: {error}; run the same command again") from None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != checksum:
        raise Trouble(
            f"{url} is not what was published: its sha256 is {found}, the list says {checksum}; nothing was installed, "
            "try again, and if it stays so, install Pulumi by hand and put it on PATH"
        )


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                source = tar.extractfile(member) if name in WANTED and member.isfile() else None
                if source is not None:
                    with source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    (folder / name).chmod(0o755)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Trouble(
            f"the archive of Pulumi cannot be unpacked ({error}); run the same command again"
        ) from None
    missing = [name for name in WANTED if not (folder / name).exists()]
    if missing:
        raise Trouble(
            f"the archive of Pulumi lacks {', '.join(missing)}; install Pulumi by hand and put it on PATH"
        )
