"""Refuse query parameters that an operation does not have, and one value too many.

A misspelt parameter would silently change nothing, and of two values one would silently hold.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args, get_origin

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Cookie, Header, Path
from fastapi.routing import APIRoute

_known: dict[str, dict[str, bool]] = {}


async def refuse_unknown_query(request: Request) -> None:
    """Raise `RequestValidationError` for a query parameter that the operation does not have, or that is there twice."""
    if not request.url.query:
        return
    route: APIRoute = request.scope["route"]
    if route.name not in _known:
        _known[route.name] = _known_to(route)
    known = _known[route.name]
    seen = set[str]()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            raise unknown_parameter(name, known)
        if name in seen and not known[name]:
            raise wrong_option("query", name, "it is there twice; send it once")
        seen.add(name)


def unknown_parameter(name: str, known: Collection[str]) -> RequestValidationError:
    """Return the error of a query parameter that an operation does not have."""
    there_are = f"there are: {', '.join(sorted(known))}" if known else "there are none"
    return wrong_option("query", name, f"there is no such parameter; {there_are}")


def wrong_option(place: str, name: str, text: str) -> RequestValidationError:
    """Return the error of one option by its name; `place` is query or body."""
    wrong = {"type": "value_error", "loc": (place, name), "msg": text, "input": None}
    return RequestValidationError([wrong], body={name: None})


def _known_to(route: APIRoute) -> dict[str, bool]:
    """Return the query parameters of an operation, and whether each may be repeated."""
    infos = {field.alias: field.field_info for field in get_flat_params(route.dependant)}
    return {
        name: any(get_origin(part) is list for part in (info.annotation, *get_args(info.annotation)))
        for name, info in infos.items()
        if not isinstance(info, Path | Header | Cookie)
    }
