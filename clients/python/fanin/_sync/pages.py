"""Lists of the service that page by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx

from fanin._sync.transport import Transport, answer_in
from fanin.errors import BadAnswer

Item = TypeVar("Item")
PAGE_ITEMS = 100


class Place(NamedTuple):
    """Which list: its path, what is asked of it, how an item is read, and whether the list comes in pages."""

    template: str
    read: Callable[[dict[str, Any]], Any]
    path: Mapping[str, object] = {}
    query: Mapping[str, Any] = {}
    has_pages: bool = True


class Items(Generic[Item]):
    """The items of a list: `for item in items`. Pages are fetched as they are needed.

    `limit` is the largest number of items in all; None: all of them.
    """

    def __init__(self, transport: Transport, place: Place, limit: int | None = None) -> None:
        self._transport = transport
        self._place = place
        self._limit = limit

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in the list's order."""
        left, after = self._limit, None
        while left is None or left > 0:
            before = after
            items, after = self._page(after, left)
            if after is not None and after == before:
                raise BadAnswer("The list has no end: its next page is the same one.")
            for item in items:
                yield item
            left = None if left is None else left - len(items)
            if after is None:
                return

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place.template!r}: iterate over it, or use collect() or first())"

    def collect(self) -> list[Item]:
        """Return all items as a list."""
        return [item for item in self]

    def first(self) -> Item | None:
        """Return the first item; None if the list is empty."""
        items, _ = self._page(None, 1)
        return items[0] if items else None

    def _page(self, after: str | None, most: int | None) -> tuple[list[Item], str | None]:
        template, read, path, query, has_pages = self._place
        size = PAGE_ITEMS if most is None else min(PAGE_ITEMS, most)
        of_page = {"limit": size, "after": after} if has_pages else {}
        response = self._transport.request("GET", template, path, query={**query, **of_page})
        items = answer_in(response).get("data")
        if not isinstance(items, list):
            raise BadAnswer(f"{response.url} answered no list.")
        return [read(item) for item in items[:most]], next_cursor(response)


def next_cursor(response: httpx.Response) -> str | None:
    """Return the cursor of the next page, from the Link header; None after the last one."""
    address = response.links.get("next", {}).get("url")
    return None if address is None else parse_qs(urlsplit(address).query).get("after", [None])[0]
