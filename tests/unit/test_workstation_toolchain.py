"""The vendor's release from a loopback server: whole, tampered with, cut off, absent; and what go.mod and versions say."""

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.workstation import go_build, network, pinned, progress, release, toolchain
from scripts.workstation.trouble import Trouble

VERSION = "v3.259.0"
ARCHIVE = "pulumi-v3.259.0-linux-x64.tar.gz"
CHECKSUMS = "pulumi-3.259.0-checksums.txt"


class Site:
    """What the download site serves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_off_after: int | None = None

    def publish(self, archive: bytes, checksum: str | None = None) -> None:
        """Offer an archive with its checksum, or with another."""
        found = checksum or hashlib.sha256(archive).hexdigest()
        self.files = {ARCHIVE: archive, CHECKSUMS: f"{'0' * 64}  other.tar.gz\n{found}  {ARCHIVE}\n".encode()}


def archive_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            content = f"#!/bin/sh\necho {name}\n".encode()
            member = tarfile.TarInfo(f"pulumi/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    served = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.files.get(self.path.removeprefix("/"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            limit = served.cut_off_after if self.path.endswith(".tar.gz") else None
            self.wfile.write(content[:limit])

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("CDP_PULUMI_RELEASES", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(release.platform, "system", lambda: "Linux")
    monkeypatch.setattr(release.platform, "machine", lambda: "x86_64")
    yield served
    server.shutdown()
    server.server_close()


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_release_is_unpacked_with_only_what_python_needs(site: Site, tmp_path: Path) -> None:
    site.publish(archive_of(*release.WANTED, "pulumi-language-nodejs"))
    release.download(VERSION, tmp_path / "pulumi")
    assert leftovers(tmp_path / "pulumi") == sorted(release.WANTED)
    assert (tmp_path / "pulumi" / "pulumi").stat().st_mode & 0o111
    assert leftovers(tmp_path) == ["pulumi"]


def test_a_wrong_checksum_installs_nothing(site: Site, tmp_path: Path) -> None:
    site.publish(archive_of(*release.WANTED), checksum="a" * 64)
    with pytest.raises(Trouble, match="is not what was published"):
        release.download(VERSION, tmp_path / "pulumi")
    assert leftovers(tmp_path) == []


def test_a_download_that_breaks_off_installs_nothing(site: Site, tmp_path: Path) -> None:
    site.publish(archive_of(*release.WANTED))
    site.cut_off_after = 100
    with pytest.raises(Trouble, match="cut off"):
        release.download(VERSION, tmp_path / "pulumi")
    assert leftovers(tmp_path) == []


def test_an_archive_without_the_language_host_is_refused(site: Site, tmp_path: Path) -> None:
    site.publish(archive_of("pulumi"))
    with pytest.raises(Trouble, match="lacks pulumi-language-python"):
        release.download(VERSION, tmp_path / "pulumi")
    assert leftovers(tmp_path) == []


def test_what_is_not_an_archive_is_refused(site: Site, tmp_path: Path) -> None:
    site.publish(b"<html>please log in</html>")
    with pytest.raises(Trouble, match="cannot be unpacked"):
        release.download(VERSION, tmp_path / "pulumi")


@pytest.mark.usefixtures("site")
def test_a_site_without_that_release_leaves_other_ways_open(tmp_path: Path) -> None:
    with pytest.raises(release.NotToBeHad, match="404"):
        release.download(VERSION, tmp_path / "pulumi")


def test_a_site_that_does_not_answer_leaves_other_ways_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDP_PULUMI_RELEASES", "http://127.0.0.1:9")
    monkeypatch.setattr(release.platform, "system", lambda: "Linux")
    monkeypatch.setattr(release.platform, "machine", lambda: "x86_64")
    with pytest.raises(release.NotToBeHad, match="does not answer"):
        release.download(VERSION, tmp_path / "pulumi")
    assert not network.answers("http://127.0.0.1:9")


@pytest.mark.usefixtures("site")
def test_an_error_page_is_an_answer() -> None:
    assert network.answers(release.base_url())


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Linux", "aarch64", "pulumi-v3.259.0-linux-arm64.tar.gz"),
        ("Darwin", "arm64", "pulumi-v3.259.0-darwin-arm64.tar.gz"),
        ("Linux", "x86_64", ARCHIVE),
    ],
)
def test_archive_names(system: str, machine: str, name: str) -> None:
    assert release.archive_name(VERSION, system, machine) == name


def test_a_system_without_a_release() -> None:
    with pytest.raises(release.NotToBeHad, match="riscv64"):
        release.archive_name(VERSION, "Linux", "riscv64")


def test_versions_are_compared_as_numbers() -> None:
    assert toolchain.parse_version("v3.99.0\n") == (3, 99)
    assert (toolchain.parse_version("v3.99.0") or (0, 0)) < toolchain.MINIMUM
    assert (toolchain.parse_version("3.1000.2-alpha") or (0, 0)) > toolchain.MINIMUM
    assert toolchain.parse_version("") is None


def a_step() -> progress.Step:
    return progress.Step(io.StringIO(), "toolchain")


def programs(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\necho v3.259.0\n")
        (folder / name).chmod(0o755)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no pulumi on PATH."""
    monkeypatch.setattr(toolchain, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path / "cache" / "toolchain"


def test_a_pulumi_on_path_needs_its_helpers(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []

    def build(_step: object, version: str, destination: Path, reason: str) -> toolchain.Toolchain:
        reasons.append(reason)
        return toolchain.Toolchain(folder=destination, version=version, source="built")

    def download(*_: object) -> None:
        raise release.NotToBeHad("offline")

    monkeypatch.setattr(toolchain, "_build", build)
    monkeypatch.setattr(release, "download", download)
    programs(tmp_path / "path", "pulumi", "pulumi-language-python")
    stream = io.StringIO()
    assert toolchain.find_or_make(progress.Step(stream, "toolchain")).source == "built"
    assert "the pulumi on PATH (v3.259.0) comes without pulumi-resource-pulumi-python" in stream.getvalue()
    assert reasons == ["offline"]
    programs(tmp_path / "path", "pulumi-resource-pulumi-python")
    assert toolchain.find_or_make(a_step()) == toolchain.Toolchain(
        folder=None, version="v3.259.0", source="PATH"
    )
    assert not cache.exists()


def test_a_folder_that_an_earlier_checkout_has_built_is_completed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk = tmp_path / "sdk"
    for script in toolchain._SCRIPTS:
        programs((sdk / script).parent, Path(script).name)
        (sdk / script).chmod(0o444)
    built = cache / f"pulumi-{pinned.pulumi_version()}-{pinned.content_key('pulumi')}"
    programs(built, "pulumi", "pulumi-language-python", "pulumi-language-python-exec")
    asked: list[str] = []

    def module_folder(_module: str, version: str) -> Path:
        asked.append(version)
        return sdk

    monkeypatch.setattr(go_build, "require_go", lambda _: None)
    monkeypatch.setattr(go_build, "module_folder", module_folder)
    for _ in range(2):
        assert toolchain.find_or_make(a_step()).folder == built
    assert leftovers(built) == sorted(release.WANTED)
    assert (built / "pulumi-resource-pulumi-python").stat().st_mode & 0o777 == 0o755
    # Once, and of the CLI's own version.
    assert asked == [pinned.pulumi_version()]


def test_a_release_of_an_earlier_checkout_is_downloaded_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = cache / f"pulumi-{pinned.pulumi_version()}"
    programs(released, "pulumi", "pulumi-language-python", "pulumi-language-python-exec")
    monkeypatch.setattr(release, "download", lambda _version, folder: programs(folder, *release.WANTED))
    assert toolchain.find_or_make(a_step()).folder == released
    assert leftovers(released) == sorted(release.WANTED)
    monkeypatch.delattr(release, "download")
    assert toolchain.find_or_make(a_step()).folder == released


def test_go_versions() -> None:
    assert go_build.go_version("go version go1.26.8 linux/amd64") == (1, 26)
    assert (go_build.go_version("go version go1.9 linux/amd64") or (0, 0)) < go_build.MINIMUM
    assert go_build.go_version("") is None


def test_pinned_versions_come_from_go_mod() -> None:
    assert pinned.pulumi_version().startswith("v3.")
    assert pinned.compose_version().startswith("v5.")
    text = "module x\nrequire (\n\texample.org/a/v2 v2.0.0 // indirect\n\texample.org/a v1.2.3\n)\n"
    assert pinned.module_version(text, "example.org/a") == "v1.2.3"
    with pytest.raises(Trouble, match=r"does not require example\.org/b"):
        pinned.module_version(text, "example.org/b")
