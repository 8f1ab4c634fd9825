"""Kills a command at a chosen moment: after AWS has applied a request, before the command gets the response."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.integration.command_line import TIMEOUT_S, CommandLine, Ran, ran

SHORT_HOLD_S = 2  # The visibility timeout of receives, instead of a minute, so that tests need not wait for it.


class _Proxy(ThreadingHTTPServer):
    """Forwards requests to *upstream*. After request *number* of *action* it calls the function in *killing*."""

    daemon_threads = True

    def __init__(self, upstream: str, action: str, number: int, killing: list[Callable[[], object]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.action, self.left, self.killing = action, number, killing
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if action == "ReceiveMessage":
            body = json.dumps(json.loads(body) | {"VisibilityTimeout": SHORT_HOLD_S}).encode()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        with closing(HTTPConnection(self.server.upstream, timeout=TIMEOUT_S)) as connection:
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        with self.server.lock:
            self.server.left -= action == self.server.action
            cut = self.server.left == 0 and action == self.server.action
        if cut:
            self.server.killing[0]()
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _proxy(*arguments: Any) -> Iterator[_Proxy]:
    with _Proxy(*arguments) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def killed_after(orders: CommandLine, action: str, number: int, *arguments: str, stdin: str = "") -> Ran:
    """Run the command and `kill -9` it once AWS has applied its request *number* of *action*; the response is lost."""
    killing: list[Callable[[], object]] = []
    with (
        _proxy(orders.stack.local_aws.endpoint, action, number, killing) as proxy,
        orders.start(*arguments, AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.server_address[1]}") as process,
    ):
        killing.append(process.kill)
        out, err = process.communicate(stdin.encode(), timeout=TIMEOUT_S)
    result = ran(process, out, err)
    assert result.code == -9, f"the command ended before {action} number {number}: {result}"
    return result
