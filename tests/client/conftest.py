"""A service in this process for the client, and a network before it that cuts connections."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fanin import Client

from tests.service.conftest import api, artifacts, bench, engine, migrated, settings  # noqa: F401 - fixtures

SMALL_DATA = Path("/nonexistent")
"""A folder without MNIST, so that services train on the 5,000 digits that are everywhere."""


class CuttingProxy:
    """A proxy on loopback that ends a connection after a number of bytes, in either direction.

    `after()` gives that number for each new connection; None: this one is not cut.
    """

    def __init__(self, port: int, after: Callable[[], int | None]) -> None:
        self._target = port
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                budget = _Budget(self._after(), (client, server), self._count)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink, budget), daemon=True).start()

    def _count(self) -> None:
        self.cuts += 1


class _Budget:
    """The bytes that a connection may still carry, both ways together."""

    def __init__(self, left: int | None, sockets: tuple[socket.socket, ...], note: Callable[[], None]) -> None:
        self.left = left
        self._sockets = sockets
        self._note = note
        self._lock = threading.Lock()

    def take(self, size: int) -> int:
        with self._lock:
            if self.left is None:
                return size
            taken = min(size, self.left)
            self.left -= taken
            if taken < size:
                self._note()
            return taken

    def end(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _pump(source: socket.socket, sink: socket.socket, budget: _Budget) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            allowed = budget.take(len(piece))
            sink.sendall(piece[:allowed])
            if allowed < len(piece):
                break
    budget.end()


@pytest.fixture
def cutting(api: httpx.Client) -> Iterator[Callable[[Callable[[], int | None]], CuttingProxy]]:
    """Returns a function that puts a cutting proxy before the service."""
    proxies: list[CuttingProxy] = []

    def make(after: Callable[[], int | None]) -> CuttingProxy:
        assert api.base_url.port is not None
        proxies.append(CuttingProxy(api.base_url.port, after))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def fanin(api: httpx.Client) -> Iterator[Client]:
    """The client of the service."""
    with Client(str(api.base_url)) as client:
        yield client


def randomly(low: int, high: int, share: float = 0.8, seed: int = 7) -> Callable[[], int | None]:
    """Return a function that cuts a share of the connections after some random number of bytes."""
    stream = random.Random(seed)
    return lambda: stream.randrange(low, high) if stream.random() < share else None
