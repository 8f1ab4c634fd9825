"""A server of webhooks, in the process of the test."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hooks:
    """
    A server with a webhook for each path. `answers` has the status of a path (default: 200), or None for no response.

    `refused` has the status for notifications about an order, on any path. `taken` are the notifications that got 200,
    with their paths; `asked` the paths of all requests. `slow_s` is how long each answer takes.
    """

    def __init__(self) -> None:
        self.answers: dict[str, int | None] = {}
        self.refused: dict[str, int] = {}
        self.slow_s = 0.0
        self.asked: list[str] = []
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.authorizations: set[str | None] = set()
        self.traceparents: list[str | None] = []
        self.closing = threading.Event()
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hooks.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128  # By default 5, and calls would wait for seconds until they are accepted.

        self.server = Server(("127.0.0.1", 0), Handler)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        path = request.path.strip("/")
        self.asked.append(path)
        status = self.refused.get(body.get("OrderId", "")) or self.answers.get(path, 200)
        if status is None:
            self.closing.wait(30)
            return
        self.closing.wait(self.slow_s)
        self.authorizations.add(request.headers["Authorization"])
        self.traceparents.append(request.headers["traceparent"])
        if status == 200:
            self.taken.append((path, body))
        with contextlib.suppress(OSError):  # The worker may be gone.
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{path}"

    def notifications(self, path: str) -> list[dict[str, Any]]:
        """Return the notifications that a path has taken."""
        return [body for each, body in self.taken if each == path]
