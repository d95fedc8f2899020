"""`pin-images.py` against a real registry, and against one that fails; and `pulumi up`, which looks at each image itself."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pulumi import automation

from scripts.workstation.registry import pins, transport
from scripts.workstation.registry.client import Registry
from scripts.workstation.trouble import Trouble, command
from tests.engine.image_registry import (
    Fault,
    FaultyProxy,
    ImageRegistry,
    cut_off,
    elsewhere,
    faulty_proxy,
    image_registry,
    other_body,
    refuse,
)
from tests.engine.platform import CHECKOUT, Platform

PROGRAM = CHECKOUT / "scripts/workstation/pin-images.py"
NAMES = ("postgres", "redis", "pgbouncer")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    """An empty one for this module."""
    with image_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def proxy(registry: ImageRegistry, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """In front of it, without faults yet, for a client that does not wait long."""
    monkeypatch.setattr(transport, "FIRST_WAIT_SECONDS", 0.01)
    with faulty_proxy(registry.address) as made:
        yield made


class Catalogue:
    """A file as images.json; three images, each with a repository of this test's own."""

    def __init__(self, folder: Path, registry: ImageRegistry) -> None:
        self.path, self.registry = folder / "images.json", registry
        self.repositories = {name: f"{folder.name}/{name}" for name in NAMES}
        self.entries: dict[str, Any] = {
            name: {"repository": f"{registry.address}/{path}"} | registry.both(path, "1.0", f"{name} 1.0")
            for name, path in self.repositories.items()
        }
        self.write()

    def write(self) -> None:
        self.path.write_text(f"{json.dumps(self.entries, indent=2)}\n")

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The program in this process: starting Python for each would be most of the time."""
        out, err = io.StringIO(), io.StringIO()
        arguments = [str(PROGRAM), "--catalogue", str(self.path), *words]
        main = import_module("scripts.workstation.pin-images").main
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", arguments)
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.raises(SystemExit) as ended,
            ):
                command(main)
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def changed_lines(self, before: str) -> int:
        pairs = zip(before.splitlines(), self.path.read_text().splitlines(), strict=True)
        return sum(old != new for old, new in pairs)


@pytest.fixture
def pinned(tmp_path: Path, registry: ImageRegistry) -> Catalogue:
    """Pinned as the registry has it."""
    return Catalogue(tmp_path, registry)


def newest(entry: dict[str, Any], tag: str = "1.0", folder: Path = Path()) -> pins.Pins:
    return pins.newest(Registry(), entry, tag, folder)


def through(proxy: FaultyProxy, registry: ImageRegistry, repository: str) -> dict[str, Any]:
    """An image's entry, whose registry is the proxy."""
    return {"repository": f"{proxy.address}/{repository}"} | registry.both(repository, "1.0", repository)


# --- the program ---


def test_what_is_pinned_is_in_order(pinned: Catalogue) -> None:
    before = pinned.path.read_text()
    said = [f"{name}: 1.0 is as pinned, for amd64 and arm64" for name in NAMES]
    # As a file, from anywhere.
    words = [sys.executable, PROGRAM, "--check", "--catalogue", pinned.path]
    ran = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout.splitlines()) == (0, said), ran.stderr
    ran = pinned.run()
    assert (ran.returncode, ran.stdout.splitlines()) == (0, said), ran.stderr
    assert pinned.path.read_text() == before


def test_a_newer_tag_is_a_small_difference(pinned: Catalogue, registry: ImageRegistry) -> None:
    new = registry.both(pinned.repositories["postgres"], "1.1", "newer", attested=True)
    before = pinned.path.read_text()
    checked = pinned.run("--check", "postgres=1.1")
    assert checked.returncode == 1
    assert pinned.path.read_text() == before
    ran = pinned.run("postgres=1.1")
    assert ran.returncode == 0, ran.stderr
    assert (
        f"postgres: 1.1 ({new['index'][:19]}…) in place of 1.0, for amd64 and arm64, with attestations"
        in ran.stdout
    )
    assert json.loads(pinned.path.read_text())["postgres"] == pinned.entries["postgres"] | new
    # The tag, the index and both manifests.
    assert pinned.changed_lines(before) == 4
    assert pinned.run("--check").returncode == 0


def test_an_image_that_nobody_has_pinned_yet(pinned: Catalogue, registry: ImageRegistry) -> None:
    repository = f"{pinned.path.parent.name}/prometheus"
    new = registry.both(repository, "3.5", "of monitoring")
    place = {"repository": f"{registry.address}/{repository}"}
    pinned.entries["prometheus"] = {**place, "tag": "3.5", "manifests": {}}
    pinned.write()
    before = pinned.path.read_text()
    checked = pinned.run("--check")
    assert checked.returncode == 0, checked.stderr
    assert "prometheus: 3.5 is not pinned, so monitoring cannot be turned on" in checked.stdout
    assert pinned.path.read_text() == before
    ran = pinned.run()
    assert ran.returncode == 0, ran.stderr
    assert (
        f"prometheus: 3.5 ({new['index'][:19]}…) is pinned for the first time, for amd64 and arm64"
        in ran.stdout
    )
    assert json.loads(pinned.path.read_text())["prometheus"] == {**place, **new}
    assert "prometheus: 3.5 is as pinned" in pinned.run("--check").stdout


def test_a_tag_that_was_pushed_again_is_told(pinned: Catalogue, registry: ImageRegistry) -> None:
    new = registry.both(pinned.repositories["redis"], "1.0", "other layers")
    old = pinned.entries["redis"]["index"]
    checked = pinned.run("--check")
    assert checked.returncode == 1
    assert (
        f"redis: 1.0 has been pushed again: it is {new['index'][:19]}… now and was {old[:19]}…"
        in checked.stdout
    )
    assert "postgres: 1.0 is as pinned" in checked.stdout
    before = pinned.path.read_text()
    assert pinned.run().returncode == 0
    assert pinned.changed_lines(before) == 3
    assert pinned.run("--check").returncode == 0


def test_a_digest_that_is_gone_is_named(pinned: Catalogue, registry: ImageRegistry) -> None:
    gone = pinned.entries["pgbouncer"]["manifests"]["arm64"]
    registry.forget(pinned.repositories["pgbouncer"], gone)
    ran = pinned.run("--check")
    assert ran.returncode == 1
    assert f"@{gone}, which is pinned; run make pin-images" in ran.stderr
    before = pinned.path.read_text()
    # Nor is anything written while one of them is out of order.
    registry.both(pinned.repositories["postgres"], "1.2", "newest")
    ran = pinned.run("postgres=1.2")
    assert ran.returncode == 1
    assert "nothing was written" in ran.stderr
    assert pinned.path.read_text() == before


def test_digests_that_do_not_belong_together_are_named(pinned: Catalogue, registry: ImageRegistry) -> None:
    stranger = registry.image(pinned.repositories["postgres"], "arm64", text="of no index")
    pinned.entries["postgres"]["manifests"]["arm64"] = stranger
    pinned.write()
    ran = pinned.run("--check")
    assert ran.returncode == 1
    assert f"postgres: {stranger}, pinned for arm64, is not what the pinned index" in ran.stderr


@pytest.mark.parametrize(
    "words",
    [["postgres"], ["mysql=8"], ["redis="], ["--chekc"]],
    ids=["no tag", "no such", "empty", "misspelt"],
)
def test_wrong_words_end_with_2(pinned: Catalogue, words: list[str]) -> None:
    assert pinned.run(*words).returncode == 2


# --- images that cannot be pinned ---


def test_an_index_without_arm64_is_refused(registry: ImageRegistry) -> None:
    amd64 = registry.image("lacking", "amd64")
    registry.index("lacking", "1.0", {"amd64": amd64})
    with pytest.raises(
        Trouble, match="has no image for linux/arm64, only for linux/amd64; choose a tag that has"
    ):
        newest({"repository": f"{registry.address}/lacking", "tag": "1.0", "manifests": {"amd64": amd64}})


def test_a_single_image_is_pinned_where_it_is_for_arm64_and_else_refused(registry: ImageRegistry) -> None:
    entry = {
        "repository": f"{registry.address}/single",
        "tag": "1.0",
        "manifests": {"arm64": "sha256:" + "0" * 64},
    }
    arm64 = registry.image("single", "arm64", tag="1.0")
    assert newest(entry).entry["manifests"] == {"arm64": arm64}
    registry.image("single", "amd64", tag="1.0")
    with pytest.raises(Trouble, match=r"is one image, for linux/amd64 alone, and linux/arm64 is needed"):
        newest(entry)


def test_a_configuration_that_contradicts_its_index_is_refused(registry: ImageRegistry) -> None:
    images = {a: registry.image("lying", "amd64", text=a) for a in ("amd64", "arm64")}
    index = registry.index("lying", "1.0", images)
    entry = {"repository": f"{registry.address}/lying", "tag": "1.0", "index": index, "manifests": images}
    for look in (newest, lambda said: pins.require_pinned(Registry(), said)):
        with pytest.raises(
            Trouble, match="should be for linux/arm64, and its own configuration says linux/amd64"
        ):
            look(entry)


# --- a registry that fails ---


def test_a_token_is_asked_for_once(proxy: FaultyProxy, registry: ImageRegistry) -> None:
    entry = through(proxy, registry, "wants-token")
    proxy.token = "for-anybody"
    assert not newest(entry).changed
    assert len([path for path in proxy.requests if path.startswith("/token?")]) == 1
    proxy.faults.append(Fault("^/v2/", refuse(401, WWW_Authenticate='Basic realm="private"')))
    with pytest.raises(Trouble, match=r"wants a login for .* of a kind that is not known here"):
        newest(entry)


def test_a_token_is_not_shown_to_another_server(proxy: FaultyProxy, registry: ImageRegistry) -> None:
    entry = through(proxy, registry, "sent-elsewhere")
    proxy.token = "for-the-registry"
    with faulty_proxy(registry.address) as store:
        proxy.faults.append(Fault("/blobs/", elsewhere(store.address)))
        assert not newest(entry).changed
        assert len(store.requests) == 2
        assert store.logins == {None}
    proxy.faults = [Fault("/blobs/", elsewhere("registry.invalid"))]
    with pytest.raises(Trouble, match=r"http://registry\.invalid, which is not encrypted"):
        newest(entry)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/manifests/1.0", refuse(429, Retry_After="1"), times=2),
        Fault("/manifests/", refuse(503), times=3),
        Fault("/manifests/1.0", cut_off, times=1),
        Fault("/blobs/", cut_off, times=2),
    ],
    ids=["429 with Retry-After", "503", "a manifest cut off", "configurations cut off"],
)
def test_what_passes_is_waited_out(proxy: FaultyProxy, registry: ImageRegistry, fault: Fault) -> None:
    entry = through(proxy, registry, "passing")
    proxy.faults.append(fault)
    assert not newest(entry).changed
    assert not fault.times


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (refuse(429, Retry_After="0"), r"limits how often it is asked \(429, 5 tries\)"),
        (refuse(500), r"is out of order \(500, 5 tries\)"),
        (cut_off, "does not answer after 5 tries"),
        (other_body, "nothing of it is taken"),
        (refuse(404), "choose a tag that is there"),
    ],
    ids=["429", "500", "a cut-off body", "a wrong digest", "404"],
)
def test_what_stays_is_one_sentence(
    proxy: FaultyProxy, registry: ImageRegistry, change: Any, sentence: str
) -> None:
    entry = through(proxy, registry, "staying")
    for path in ("/manifests/1.0", f"/manifests/{entry['manifests']['arm64']}", "/blobs/"):
        proxy.faults = [Fault(path, change)]
        with pytest.raises(Trouble, match=sentence) as failed:
            newest(entry)
        assert "\n" not in str(failed.value)


# --- signatures ---


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    """The publisher's."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def signed(tmp_path: Path, registry: ImageRegistry, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """An entry that wants the publisher's signature, of an image that does not have it yet."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "publisher.pub").write_bytes(public)
    path = f"{tmp_path.name}/signed"
    made = registry.both(path, "1.0", "signed")
    return {"repository": f"{registry.address}/{path}", **made, "signature": {"key": "publisher.pub"}}


def path_of(entry: dict[str, Any]) -> str:
    return entry["repository"].partition("/")[2]


def test_a_signed_image_is_pinned_and_its_sbom_told(
    tmp_path: Path, registry: ImageRegistry, signed: dict[str, Any], key: ec.EllipticCurvePrivateKey
) -> None:
    with pytest.raises(Trouble, match="is not signed, and the catalogue names a key for it"):
        newest(signed, folder=tmp_path)
    registry.sign(path_of(signed), signed["index"], key)
    assert newest(signed, folder=tmp_path).sentence.endswith(", signed, no SBOM attested")
    registry.attest(path_of(signed), signed["index"], key, "https://spdx.dev/Document/v2.3")
    registry.attest(path_of(signed), signed["manifests"]["arm64"], key, "https://cyclonedx.org/bom")
    assert newest(signed, folder=tmp_path).sentence.endswith(", signed, SBOM attested (CycloneDX, SPDX)")


def test_a_wrong_signature_or_attestation_is_refused(
    tmp_path: Path, registry: ImageRegistry, signed: dict[str, Any], key: ec.EllipticCurvePrivateKey
) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    path, index = path_of(signed), signed["index"]
    registry.sign(path, index, stranger)
    with pytest.raises(Trouble, match=r"no signature of .* is by the key that the catalogue names"):
        newest(signed, folder=tmp_path)
    # By the right key, and for another image.
    registry.sign(path, index, key, of=signed["manifests"]["arm64"])
    with pytest.raises(Trouble, match=r"no signature of .* is by the key that the catalogue names"):
        newest(signed, folder=tmp_path)
    registry.sign(path, index, key)
    registry.attest(path, index, stranger, "https://spdx.dev/Document")
    with pytest.raises(Trouble, match=r"no attestation of .* is by the key that the catalogue names"):
        newest(signed, folder=tmp_path)


# --- pulumi up ---


def test_up_refuses_an_image_that_is_for_another_architecture(
    running: Platform, registry: ImageRegistry
) -> None:
    """What "check-images.sh" finds: the digest's place in the catalogue says one thing, the image's configuration another."""
    catalogue = json.loads(Path(running.config["imageCatalogue"]).read_text())
    (architecture,) = catalogue["redis"]["manifests"]
    other = {"amd64": "arm64", "arm64": "amd64"}[architecture]
    digest = registry.image("redis", other, text="not for this host")
    lying = {"repository": f"{registry.address}/redis", "tag": "1.0", "manifests": {architecture: digest}}
    path = running.folder / "lying.json"
    path.write_text(json.dumps(catalogue | {"redis": lying}))
    before, compose = running.ids(), (running.srv / "apps/postgres-stack/docker-compose.yml").read_text()
    with running.changed(imageCatalogue=str(path)), pytest.raises(automation.CommandError) as failed:
        running.up()
    reference = f"{registry.address}/redis@{digest}"
    assert (
        f"{reference} is in the catalogue for linux/{architecture} and is an image for linux/{other}; run make pin-images"
        in str(failed.value)
    )
    assert running.ids() == before
    assert (running.srv / "apps/postgres-stack/docker-compose.yml").read_text() == compose
    running.up()
    assert running.ids() == before
    running.docker("image", "rm", reference)
