"""Pages of lists. Callers read one row more than the limit, so that `has_more` needs no count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

from fastapi import Request, Response

from service.http.answers import Page

Row = TypeVar("Row")
Item = TypeVar("Item")


def page(
    request: Request, response: Response, items: Sequence[Item], limit: int, last_id: str | int | None
) -> Page[Item]:
    """Return the first `limit` of `items` as a page; if more follow, set the `Link` header (RFC 8288).

    `last_id` is the id of the last item on the page.
    """
    has_more = len(items) > limit
    if has_more and last_id is not None:
        kept = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
        following = urlencode([*kept, ("after", last_id)])
        response.headers["Link"] = f'<{request.scope["path"]}?{following}>; rel="next"'
    return Page[Item](data=list(items[:limit]), has_more=has_more)
