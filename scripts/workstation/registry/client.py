"""A registry's API, version 2, without a login: what it serves is taken only when its sha256 is the one expected."""

import hashlib
import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from scripts.workstation.registry.documents import ACCEPT, Document, document
from scripts.workstation.registry.repository import Repository
from scripts.workstation.registry.transport import Response, Transport, require_tls
from scripts.workstation.trouble import Trouble


class Absent(Trouble):
    """The registry answers, and has no such thing."""


def sha256(body: bytes) -> str:
    """The digest of some bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class Registry:
    """Any of them, by repository. What has been read once is not asked for again: some count and limit each request."""

    def __init__(self, transport: Transport | None = None) -> None:
        self._transport = transport or Transport()
        self._tokens: dict[Repository, str] = {}
        self._documents: dict[tuple[Repository, str], Document] = {}
        self._blobs: dict[tuple[Repository, str], bytes] = {}

    def manifest(self, repository: Repository, reference: str) -> Document:
        """The manifest or index of a tag or a digest. Raises Absent, and Trouble for all that cannot be trusted."""
        known = self._documents.get((repository, reference))
        if known:
            return known
        where = _name(repository, reference)
        answer = self._get(repository, f"manifests/{reference}", ACCEPT, where)
        digest = sha256(answer.data)
        said = answer.headers.get("Docker-Content-Digest", digest)
        expected = reference if reference.startswith("sha256:") else said
        _require(where, digest, expected)
        _require(where, digest, said)
        found = document(where, digest, answer.headers.get("Content-Type", ""), _parsed(answer.data, where))
        self._documents[repository, digest] = self._documents[repository, reference] = found
        return found

    def blob(self, repository: Repository, digest: str) -> bytes:
        """A configuration, a signature or the like. Raises as `manifest` does."""
        if (repository, digest) not in self._blobs:
            where = _name(repository, digest)
            body = self._get(repository, f"blobs/{digest}", "*/*", where).data
            _require(where, sha256(body), digest)
            self._blobs[repository, digest] = body
        return self._blobs[repository, digest]

    def config(self, repository: Repository, digest: str) -> Mapping[str, Any]:
        """An image's configuration."""
        where = f"the configuration {_name(repository, digest)}"
        found = _parsed(self.blob(repository, digest), where)
        if not isinstance(found, dict):
            raise Trouble(f"{where} is no object; choose another tag")
        return found

    def _get(self, repository: Repository, path: str, accept: str, where: str) -> Response:
        url = f"{repository.api}/{path}"
        headers = {"Accept": accept, "User-Agent": "central-data-platform"}
        answer = self._transport.get(url, headers | self._authorization(repository))
        if answer.status == 401:
            self._tokens[repository] = self._token(repository, answer.headers.get("WWW-Authenticate", ""))
            answer = self._transport.get(url, headers | self._authorization(repository))
        match answer.status:
            case 200:
                return answer
            case 404:
                raise Absent(f"{repository.host} has no {where}")
            case 401 | 403:
                raise Trouble(
                    f"{repository.host} has no {where} for whoever has no login; correct the repository in the catalogue"
                )
            case status:
                raise Trouble(f"{repository.host} answers {status} when asked for {where}; try again later")

    def _authorization(self, repository: Repository) -> dict[str, str]:
        token = self._tokens.get(repository)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _token(self, repository: Repository, challenge: str) -> str:
        asked = bearer_challenge(challenge)
        if "realm" not in asked:
            raise Trouble(
                f"{repository.host} wants a login for {repository.name} of a kind that is not known here "
                f"({challenge.partition(' ')[0] or 'it does not say which'}); mirror the image to a registry that needs none"
            )
        require_tls(asked["realm"])
        scope = asked.get("scope", f"repository:{repository.path}:pull")
        query = {"scope": scope, **({"service": asked["service"]} if "service" in asked else {})}
        url = f"{asked['realm']}?{urlencode(query)}"
        answer = self._transport.get(url, {"Accept": "application/json"})
        where = f"the token for {repository.name}"
        found = _parsed(answer.data, where) if answer.status == 200 else None
        token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else None
        if not isinstance(token, str):
            raise Trouble(
                f"{repository.host} gives no token for {repository.name} to whoever has no login ({answer.status}); "
                "correct the repository in the catalogue"
            )
        return token


def bearer_challenge(header: str) -> dict[str, str]:
    """The parts of `WWW-Authenticate: Bearer realm="…",service="…",scope="…"`, or nothing where it is another kind."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "bearer":
        return {}
    # The separators of parse_keqv_list are those of RFC 7235; what lacks a "=" is nobody's.
    parts = [part for part in urllib.request.parse_http_list(rest) if "=" in part]
    return {name.lower(): value for name, value in urllib.request.parse_keqv_list(parts).items()}


def _name(repository: Repository, reference: str) -> str:
    return f"{repository.name}{'@' if reference.startswith('sha256:') else ':'}{reference}"


def _require(where: str, found: str, expected: str) -> None:
    if found != expected:
        raise Trouble(
            f"what the registry serves as {where} has the digest {found}, and {expected} is promised; nothing of it is taken"
        )


def _parsed(body: bytes, where: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Trouble(f"{where} is not JSON; choose another tag") from None
