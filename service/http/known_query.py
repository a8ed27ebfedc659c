"""Refuse query parameters that an operation does not have: a misspelt one would silently change nothing."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Cookie, Header, Path
from fastapi.routing import APIRoute

_known: dict[str, frozenset[str]] = {}


async def refuse_unknown_query(request: Request) -> None:
    """Raise `RequestValidationError` for the first query parameter that the operation does not have."""
    if not request.url.query:
        return
    route: APIRoute = request.scope["route"]
    if route.name not in _known:
        _known[route.name] = _names_of(route)
    known = _known[route.name]
    for name in request.query_params:
        if name not in known:
            raise unknown_parameter(name, known)


def unknown_parameter(name: str, known: Collection[str]) -> RequestValidationError:
    """Return the error of a query parameter that an operation does not have."""
    there_are = f"there are: {', '.join(sorted(known))}" if known else "there are none"
    return wrong_option("query", name, f"there is no such parameter; {there_are}")


def wrong_option(place: str, name: str, text: str) -> RequestValidationError:
    """Return the error of one option by its name; `place` is query or body."""
    wrong = {"type": "value_error", "loc": (place, name), "msg": text, "input": None}
    return RequestValidationError([wrong], body={name: None})


def _names_of(route: APIRoute) -> frozenset[str]:
    fields = get_flat_params(route.dependant)
    return frozenset(field.alias for field in fields if not isinstance(field.field_info, Path | Header | Cookie))
