"""An S3 server over HTTP for tests and trials (that of moto), and a proxy before it that makes requests fail."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Literal

from service.artifacts.opening import open_artifacts
from service.artifacts.store import Artifacts
from service.commands.local_service import free_port

BUCKET = "fanin"
START_LIMIT_S = 60.0
HANG_S = 60.0
Fault = Literal["error", "conflict", "refused", "expired", "hang", "cut", "lost"]
"""error: 503 instead of the request. hang: no answer. cut: half of the answer. lost: done, and no answer."""

STATUSES = {
    "error": HTTPStatus.SERVICE_UNAVAILABLE,
    "conflict": HTTPStatus.CONFLICT,
    "refused": HTTPStatus.FORBIDDEN,
    "expired": HTTPStatus.BAD_REQUEST,
}
"""The faults that are an answer, and its status."""
KEPT_HEADERS = ("content-type", "etag", "last-modified", "content-range", "accept-ranges")


class S3Server:
    """A server with an empty bucket, in a process of its own; `environment` is what its clients need."""

    def __init__(self, host: str = "127.0.0.1", port: int | None = None, prefix: tuple[str, ...] = ()) -> None:
        """`prefix` is a command that starts the server elsewhere, such as in a network namespace."""
        self.port = port or free_port()
        self.endpoint = f"http://{host}:{self.port}"
        self.url = f"s3://{BUCKET}/trial"
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "moto.server", "--host", host, "--port", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """Return the environment of a client, which reaches the server at `endpoint`."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": "trial",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_REGION": "us-east-1",
        }

    def make_bucket(self) -> None:
        """Wait until the server answers, and make the bucket."""
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                put = urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT")  # noqa: S310
                with urllib.request.urlopen(put, timeout=5):  # noqa: S310 - its own server
                    return
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def close(self) -> None:
        """End the server; its objects are lost."""
        self._process.kill()
        self._process.wait()


class Storage:
    """A server as clusters use it: a given one, or one behind a proxy; `self.choose` may be replaced at any time."""

    def __init__(self, server: S3Server | None = None) -> None:
        self.server = server or S3Server()
        self.server.make_bucket()
        self.choose: Callable[[str, str], Fault | None] = lambda _method, _path: None
        self.proxy: FaultyProxy | None = None
        if server is None:
            self.proxy = FaultyProxy(self.server.port, lambda method, path: self.choose(method, path))

    def settings(self) -> dict[str, str]:
        """Return the settings of a process that keeps its checkpoints there."""
        endpoint = self.proxy.endpoint if self.proxy else None
        return {"FANIN_ARTIFACTS_URL": self.server.url, **self.server.environment(endpoint)}

    def objects(self) -> Artifacts:
        """Return the objects, without the proxy. Sets this process's environment."""
        os.environ.update(self.server.environment())
        return open_artifacts(self.server.url)

    def close(self) -> None:
        """End the server, and the proxy if there is one."""
        if self.proxy is not None:
            self.proxy.close()
        self.server.close()


class FaultyProxy:
    """An HTTP proxy before a server. `choose` says of each request what goes wrong: a fault, or None."""

    def __init__(self, server_port: int, choose: Callable[[str, str], Fault | None]) -> None:
        self.requests: list[tuple[str, str, Fault | None]] = []
        self._lock, self._choose = Lock(), choose
        self.over = Event()
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self, server_port))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()

    def fault_of(self, method: str, path: str) -> Fault | None:
        """Return what goes wrong with a request, and keep it."""
        with self._lock:
            fault = self._choose(method, path)
            self.requests.append((method, path, fault))
        return fault

    def close(self) -> None:
        """Stop; connections in progress are cut."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_request: object) -> None:
        """Write nothing: clients are killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: FaultyProxy, server_port: int, *arguments: Any) -> None:
        self._proxy, self._server_port = proxy, server_port
        super().__init__(*arguments)

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self._proxy.fault_of(self.command, self.path)
        if fault == "hang":
            self._proxy.over.wait(HANG_S)
            self.close_connection = True
        elif fault in STATUSES:
            self.send_response(STATUSES[fault])
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815 - names of the base class

    def _forward(self, body: bytes, fault: Fault | None) -> None:
        server = http.client.HTTPConnection("127.0.0.1", self._server_port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        server.request(self.command, self.path, body, headers)
        found = server.getresponse()
        content, length = found.read(), found.getheader("Content-Length")
        server.close()
        self.close_connection = fault in ("lost", "cut")
        if fault == "lost":
            return
        self.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() in KEPT_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", (length if self.command == "HEAD" else None) or str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def log_message(self, *_line: object) -> None:
        """Write nothing."""
