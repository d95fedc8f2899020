"""The API on a port."""

import json
import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .api import Answer, Api

LARGEST_BODY = 64 * 1024


class Server(ThreadingHTTPServer):
    """One thread for each request; those under way end before `server_close` does."""

    daemon_threads = False

    def __init__(self, address: tuple[str, int], api: Api) -> None:
        super().__init__(address, _Handler)
        self.api = api


class _Handler(BaseHTTPRequestHandler):
    # Nobody holds a thread for longer by saying nothing.
    timeout = 10

    @property
    def _api(self) -> Api:
        assert isinstance(self.server, Server)  # noqa: S101 - what makes a handler
        return self.server.api

    def do_GET(self) -> None:
        self._send(self._api.answer("GET", self.path))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            sentence = f"say by Content-Length how long the body is; at most {LARGEST_BODY} bytes are read"
            self._send(Answer(413, {"error": sentence}))
            return
        self._send(self._api.answer("POST", self.path, self.rfile.read(int(length))))

    def _send(self, answer: Answer) -> None:
        body = json.dumps(answer.body, default=str).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        logging.info(format, *args)
