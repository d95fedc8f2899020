"""A real image registry on loopback, what to put into it, and a proxy in front of it that fails as registries do."""

import base64
import contextlib
import gzip
import hashlib
import json
import re
import shutil
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.engine.platform import CHECKOUT
from tests.waiting import until

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ACCEPT = f"{INDEX}, {MANIFEST}"


def sha256(body: bytes) -> str:
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def to_json(value: object) -> bytes:
    """The same bytes for the same value."""
    return json.dumps(value, sort_keys=True).encode()


@dataclass(frozen=True)
class ImageRegistry:
    """Debian's docker-registry; `address` is host:port, `storage` its folder."""

    address: str
    storage: Path

    def put(self, path: str, body: bytes, media_type: str) -> None:
        """One upload, which has to be taken."""
        connection = HTTPConnection(self.address, timeout=10)
        with contextlib.closing(connection):
            connection.request("PUT", path, body, {"Content-Type": media_type})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 201, said

    def blob(self, repository: str, body: bytes, media_type: str) -> dict[str, Any]:
        """Upload a blob. Returns its descriptor."""
        connection = HTTPConnection(self.address, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
            answer = connection.getresponse()
            answer.read()
            location = answer.headers["Location"].removeprefix(f"http://{self.address}")
        self.put(f"{location}&digest={sha256(body)}", body, "application/octet-stream")
        return {"mediaType": media_type, "size": len(body), "digest": sha256(body)}

    def manifest(self, repository: str, content: Mapping[str, Any], tag: str | None = None) -> str:
        """Upload a manifest or an index. Returns its digest."""
        body = to_json(content)
        self.put(f"/v2/{repository}/manifests/{tag or sha256(body)}", body, content["mediaType"])
        return sha256(body)

    def image(self, repository: str, architecture: str, *, text: str = "", tag: str | None = None) -> str:
        """An image that Docker can pull, with one file that holds `text`; its configuration says `architecture`."""
        archive = BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo("text")
            entry.size = len(text.encode())
            tar.addfile(entry, BytesIO(text.encode()))
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/text"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(archive.getvalue())]},
        }
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(repository, to_json(config), CONFIG),
            "layers": [self.blob(repository, gzip.compress(archive.getvalue(), mtime=0), LAYER)],
        }
        return self.manifest(repository, content, tag)

    def index(self, repository: str, tag: str, images: Mapping[str, str], *, attested: bool = False) -> str:
        """An index of images by architecture; `attested` adds what BuildKit adds."""
        entries = [
            {
                "mediaType": MANIFEST,
                "digest": digest,
                "size": 1,
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, digest in images.items()
        ]
        for digest in list(images.values()) if attested else []:
            statement = self.blob(repository, b"{}", "application/vnd.in-toto+json")
            config = self.blob(repository, b"{}", CONFIG)
            content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement]}
            entries.append(
                {
                    "mediaType": MANIFEST,
                    "digest": self.manifest(repository, content),
                    "size": 1,
                    "platform": {"os": "unknown", "architecture": "unknown"},
                    "annotations": {
                        "vnd.docker.reference.type": "attestation-manifest",
                        "vnd.docker.reference.digest": digest,
                    },
                }
            )
        return self.manifest(repository, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, tag)

    def both(self, repository: str, tag: str, text: str, **options: bool) -> dict[str, Any]:
        """An image for both architectures. Returns its entry of a catalogue, without the repository."""
        images = {a: self.image(repository, a, text=f"{text} {a}") for a in ("amd64", "arm64")}
        return {"tag": tag, "index": self.index(repository, tag, images, **options), "manifests": images}

    def forget(self, repository: str, digest: str) -> None:
        """A manifest is gone, as when a publisher deletes it."""
        (revisions,) = self.storage.glob(f"docker/registry/v2/repositories/{repository}/_manifests/revisions")
        shutil.rmtree(revisions / "sha256" / digest.removeprefix("sha256:"))

    def sign(self, repository: str, digest: str, key: ec.EllipticCurvePrivateKey, *, of: str = "") -> None:
        """As `cosign sign --key` does; `of` is the digest that the signed text names, if not the image's."""
        payload = {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": of or digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
        body = to_json(payload)
        layer = self.blob(repository, body, "application/vnd.dev.cosign.simplesigning.v1+json")
        signature = base64.b64encode(key.sign(body, ec.ECDSA(SHA256()))).decode()
        layer["annotations"] = {"dev.cosignproject.cosign/signature": signature}
        self._beside(repository, digest, "sig", layer)

    def attest(
        self, repository: str, digest: str, key: ec.EllipticCurvePrivateKey, predicate_type: str
    ) -> None:
        """As `cosign attest --key` does."""
        kind = "application/vnd.in-toto+json"
        statement = to_json(
            {
                "_type": "https://in-toto.io/Statement/v0.1",
                "predicateType": predicate_type,
                "subject": [{"name": repository, "digest": {"sha256": digest.removeprefix("sha256:")}}],
                "predicate": {"name": "packages"},
            }
        )
        encoded = f"DSSEv1 {len(kind)} {kind} {len(statement)} ".encode() + statement
        envelope = {
            "payloadType": kind,
            "payload": base64.b64encode(statement).decode(),
            "signatures": [
                {"keyid": "", "sig": base64.b64encode(key.sign(encoded, ec.ECDSA(SHA256()))).decode()}
            ],
        }
        layer = self.blob(repository, to_json(envelope), "application/vnd.dsse.envelope.v1+json")
        self._beside(repository, digest, "att", layer | {"annotations": {"predicateType": predicate_type}})

    def _beside(self, repository: str, digest: str, suffix: str, layer: Mapping[str, Any]) -> None:
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(repository, b"{}", CONFIG),
            "layers": [layer],
        }
        self.manifest(repository, content, f"{digest.replace(':', '-')}.{suffix}")


@contextmanager
def image_registry(folder: Path) -> Iterator[ImageRegistry]:
    """A registry that lives as long as the block, on a free port of 127.0.0.1."""
    subprocess.run([CHECKOUT / "sandbox/docker/ensure-packages.sh", "docker-registry"], check=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address, storage = f"127.0.0.1:{port}", folder / "storage"
    configuration = folder / "registry.yml"
    configuration.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(storage)}},
                "http": {"addr": address},
            }
        )
    )
    with (folder / "registry.log").open("w") as log:
        served = subprocess.Popen(["docker-registry", "serve", configuration], stdout=log, stderr=log)
    try:
        until(lambda: _answers(port), seconds=20, what="the registry answers")
        yield ImageRegistry(address, storage)
    finally:
        served.terminate()
        served.wait(timeout=20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass(frozen=True)
class Answer:
    """What the proxy sends to whoever asks for `path`. `cut` leaves out the end of the body, and breaks the connection."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool = False
    path: str = ""


@dataclass
class Fault:
    """What becomes of the answers to the next `times` requests whose path matches."""

    path: str
    change: Callable[[Answer], Answer]
    times: int = 1000


def refuse(status: int, **headers: str) -> Callable[[Answer], Answer]:
    """Another answer in its place; `Retry_After=1` is a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Answer(status, named, b"{}")


def elsewhere(address: str) -> Callable[[Answer], Answer]:
    """To the same path of another server, as registries send to where they keep blobs."""
    return lambda answer: Answer(307, {"Location": f"http://{address}{answer.path}"}, b"")


def cut_off(answer: Answer) -> Answer:
    """Half the body."""
    return replace(answer, cut=True)


def other_body(answer: Answer) -> Answer:
    """Other bytes, which are JSON too."""
    return replace(answer, body=answer.body + b"\n")


@dataclass
class FaultyProxy:
    """In front of a registry. `requests` are the paths that were asked for, `logins` who asked; with `token` it wants one."""

    upstream: str
    address: str = ""
    faults: list[Fault] = field(default_factory=list[Fault])
    requests: list[str] = field(default_factory=list[str])
    logins: set[str | None] = field(default_factory=set[str | None])
    token: str | None = None

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        """What the registry says, and what becomes of it."""
        self.requests.append(path)
        self.logins.add(headers.get("Authorization"))
        if path.startswith("/token?"):
            good = "scope=repository%3A" in path and "service=tests" in path
            return Answer(200 if good else 400, {}, to_json({"token": self.token}))
        found = self._asked(path, headers)
        for fault in self.faults:
            if fault.times and re.search(fault.path, path):
                fault.times -= 1
                return fault.change(found)
        return found

    def _asked(self, path: str, headers: Mapping[str, str]) -> Answer:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            asked = f'Bearer realm="http://{self.address}/token",service="tests",scope="repository:any:pull"'
            return Answer(401, {"WWW-Authenticate": asked}, b"{}")
        connection = HTTPConnection(self.upstream, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Accept": headers.get("Accept", "*/*")})
            answer = connection.getresponse()
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name in ("Content-Type", "Docker-Content-Digest")
            }
            return Answer(answer.status, kept, answer.read(), path=path)


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy that lives as long as the block."""
    proxy = FaultyProxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = proxy.answer(self.path, dict(self.headers))
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
            self.close_connection = answer.cut

        def log_message(self, format: str, *args: object) -> None:
            """What was asked for is in `requests`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
