"""Several hosts on one machine: network namespaces whose packets pass through this process, which drops or delays them.

Each host has a TUN device, a network card whose packets a process reads and writes. The process here forwards the
packets from card to card. So links can be cut in one direction or in both, and delayed, on every Linux, and with no
other tool than `ip`. Needs root.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import NamedTuple

NETWORK = "10.77.0"
OUTSIDE = "outside"
MTU = 9000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
VERSION_4 = 4


class Packet(NamedTuple):
    """A packet that waits until a time, and the card that it goes to."""

    due: float
    number: int
    card: int
    content: bytes


@dataclass(frozen=True)
class Link:
    """One direction between two hosts: the share of packets that is lost, and how late the others come."""

    loss: float = 0.0
    delay_s: float = 0.0


def why_impossible() -> str | None:
    """Return why there can be no such network here, or None."""
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("ip") is None:
        return "it needs the command ip (Debian: apt-get install iproute2)"
    return None if Path("/dev/net/tun").exists() else "it needs /dev/net/tun"


class Network:
    """Hosts by name, each in a namespace of its own; `outside` is the machine itself."""

    def __init__(self, *names: str) -> None:
        self._tag = f"fanin{os.getpid()}"
        self.addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate((OUTSIDE, *names), 1)}
        self._links: dict[tuple[bytes, bytes], Link] = {}
        self._cards: dict[bytes, int] = {}
        self._over = threading.Event()
        for name in self.addresses:
            self._plug_in(name)
        self._thread = threading.Thread(target=self._forward, name="network", daemon=True)
        self._thread.start()

    def _plug_in(self, name: str) -> None:
        """Make a host with its card. A card keeps its file while it moves into the host's namespace."""
        address, card = self.addresses[name], f"{self._tag[-9:]}-{len(self._cards)}"
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", card.encode(), IFF_TUN | IFF_NO_PI))
        self._cards[socket.inet_aton(address)] = file
        there: tuple[str, ...] = ()
        if name != OUTSIDE:
            _ip("netns", "add", self._space(name))
            _ip("link", "set", card, "netns", self._space(name))
            there = ("-n", self._space(name))
            _ip(*there, "link", "set", "lo", "up")
        _ip(*there, "address", "add", f"{address}/24", "dev", card)
        _ip(*there, "link", "set", card, "mtu", str(MTU), "up")

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def prefix(self, name: str) -> tuple[str, ...]:
        """Return the command that starts another one on a host."""
        return () if name == OUTSIDE else ("ip", "netns", "exec", self._space(name))

    @contextmanager
    def trouble(self, one: str, other: str, there: Link, back: Link | None = None) -> Iterator[None]:
        """Let the packets between two hosts have trouble, in both directions alike or as `back` says, for a block."""
        directions = {(one, other): there, (other, one): back or there}
        keys = {
            (socket.inet_aton(self.addresses[sender]), socket.inet_aton(self.addresses[receiver])): link
            for (sender, receiver), link in directions.items()
        }
        self._links |= keys
        try:
            yield
        finally:
            for key in keys:
                del self._links[key]

    def _forward(self) -> None:
        chance, numbers, waiting = random.Random(0), count(), list[Packet]()  # noqa: S311 - no secret
        with DefaultSelector() as selector:
            for card in self._cards.values():
                selector.register(card, EVENT_READ)
            while not self._over.is_set():
                pause_s = min(0.2, max(0.0, waiting[0].due - time.monotonic())) if waiting else 0.2
                for key, _events in selector.select(pause_s):
                    for packet in self._packets(key.fd):
                        self._pass_on(packet, chance, waiting, next(numbers))
                while waiting and waiting[0].due <= time.monotonic():
                    late = heapq.heappop(waiting)
                    _write(late.card, late.content)

    def _packets(self, card: int) -> Iterator[bytes]:
        for _ in range(64):
            try:
                yield os.read(card, MTU + 100)
            except BlockingIOError:
                return

    def _pass_on(self, packet: bytes, chance: random.Random, waiting: list[Packet], number: int) -> None:
        sender, receiver = packet[12:16], packet[16:20]
        card = self._cards.get(receiver)
        if packet[0] >> 4 != VERSION_4 or card is None:
            return
        link = self._links.get((sender, receiver))
        if link is None:
            _write(card, packet)
        elif link.loss < 1 and chance.random() >= link.loss:
            heapq.heappush(waiting, Packet(time.monotonic() + link.delay_s, number, card, packet))

    def close(self) -> None:
        """Remove the hosts."""
        self._over.set()
        self._thread.join()
        for card in self._cards.values():
            os.close(card)
        for name in self.addresses:
            if name != OUTSIDE:
                subprocess.run(["ip", "netns", "delete", self._space(name)], capture_output=True, check=False)


def _write(card: int, packet: bytes) -> None:
    try:
        os.write(card, packet)
    except OSError:  # the card's queue is full, or its host is gone: the packet is lost, as on a real network
        return


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
