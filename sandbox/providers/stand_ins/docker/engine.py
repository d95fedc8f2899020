"""A small HTTP client for the Docker engine, with the error texts of Docker's own Go client.

The `docker` package of PyPI is not used: it costs a third of a second at each start of the plugin, hides
the raw JSON that the published provider works with, and needs paramiko to speak ssh.
"""

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from sandbox.providers.stand_ins.errors import ProviderError

_NEWEST_API = (1, 47)
"""The newest API version whose answers this stand-in knows how to read."""


class EngineError(ProviderError):
    """The engine's answer to a request that it refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.status = status


class Engine:
    """One Docker engine, reached through a unix socket or through ssh and `docker system dial-stdio`."""

    def __init__(self, host: str, ssh_options: list[str], check: bool = True) -> None:
        self.host = host
        self._ssh_options = ssh_options
        self._prefix = ""
        scheme = urlsplit(host).scheme
        if scheme not in ("unix", "ssh"):
            raise ProviderError(
                f"docker host {host!r}: this stand-in reaches unix:// and ssh:// only; "
                "use one of them, or the published plugin."
            )
        if check:
            self._ping()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer to a GET."""
        return self._request("GET", path, query)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON answer to a POST, None if there is none."""
        return self._request("POST", path, query, body)

    def delete(self, path: str, **query: Any) -> Any:
        """The JSON answer to a DELETE."""
        return self._request("DELETE", path, query)

    def put_archive(self, path: str, archive: bytes) -> None:
        """Unpack a tar archive at the root of a container."""
        self._request("PUT", path, {"path": "/"}, archive, {"Content-Type": "application/x-tar"})

    def pull(self, repository: str, tag: str, platform: str) -> None:
        """Pull an image; like the published provider, notice only what the engine refuses at once."""
        query = {"fromImage": repository, "tag": tag, "platform": platform}
        self._request("POST", "/images/create", query, headers={"X-Registry-Auth": "e30="}, raw=True)

    def log_output(self, container: str, tty: bool) -> str:
        """What a finished container wrote to stdout and stderr."""
        raw = self._request("GET", f"/containers/{container}/logs", {"stdout": 1, "stderr": 1}, raw=True)
        return (raw if tty else b"".join(_frames(raw))).decode(errors="replace")

    def _ping(self) -> None:
        try:
            connection = self._connect()
            connection.request("GET", "/_ping", headers={"Host": "docker"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ProviderError(
                f"failed to create Docker client: Error pinging Docker server, please make sure that {self.host} "
                f"is reachable and has a  '_ping' endpoint. Error: {_unreachable(self.host, error)}"
            ) from error
        offered = tuple(int(part) for part in response.getheader("Api-Version", "1.41").split("."))
        self._prefix = "/v{}.{}".format(*min(offered, _NEWEST_API))

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, Any],
        body: Any = None,
        headers: dict[str, str] | None = None,
        raw: bool = False,
    ) -> Any:
        given = {key: value for key, value in query.items() if value not in (None, "")}
        target = self._prefix + quote(path) + (f"?{urlencode(given)}" if given else "")
        sent = {"Host": "docker", "Connection": "close", **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            connection = self._connect()
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ProviderError(_unreachable(self.host, error)) from error
        if response.status >= 400:
            raise EngineError(response.status, _message(answer) or response.reason)
        if raw:
            return answer
        return json.loads(answer) if answer else None

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("docker")
        parts = urlsplit(self.host)
        if parts.scheme == "unix":
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.connect(parts.path)
        else:
            connection.sock = self._dial(parts.hostname or "", parts.username, parts.port)
        return connection

    def _dial(self, hostname: str, user: str | None, port: int | None) -> socket.socket:
        ours, theirs = socket.socketpair()
        words = ["ssh", *self._ssh_options]
        words += ["-l", user] if user else []
        words += ["-p", str(port)] if port else []
        with theirs:
            subprocess.Popen(
                [*words, "--", hostname, "docker", "system", "dial-stdio"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
            )
        return ours


def _frames(raw: bytes) -> Iterator[bytes]:
    """The payloads of a multiplexed log: each has a header of 8 bytes that ends in its length."""
    while len(raw) >= 8:
        end = 8 + int.from_bytes(raw[4:8], "big")
        yield raw[8:end]
        raw = raw[end:]


def _message(answer: bytes) -> str:
    try:
        return json.loads(answer)["message"].strip()
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace").strip()


def _unreachable(host: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?"
    return f"error during connect to {host}: {str(error) or type(error).__name__}"
