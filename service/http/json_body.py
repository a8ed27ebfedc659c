"""Read a JSON object from a request, within limits that hold before anything is validated.

A validator reports every wrong element of a list, at a hundred times the memory of the element. So a body, and each
list and each object in it, has a limit of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from service.errors import BodyTooLarge, MalformedBody, UnsupportedMediaType

SPEC_BYTES = 64 * 1024
EXPERIMENT_BYTES = 256 * 1024
IMAGES_JSON_BYTES = 4 * 2**20
QUICK_BYTES = 64 * 1024
"""Larger bodies are parsed on another thread."""

MAX_CONTAINERS = 100_000
"""Lists and objects in one body. The pictures of 4 MiB row by row need 75,000. The interpreter's collector takes a
second for a million, and meanwhile no other request is answered."""

MAX_ITEMS = 1000
MAX_FIELDS = 100
JSON = "application/json"
UTF_8_MARK, UTF_16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
"""Byte-order marks. Some editors and libraries write one before UTF-8 as well."""


def media_type_of(header: str | None) -> str:
    """Return the media type of a Content-Type header, without parameters, in lower case; empty without a header."""
    return (header or "").partition(";")[0].strip().lower()


def json_object_within(limit_bytes: int) -> Callable[[Request], Awaitable[dict[str, Any]]]:
    """Return a dependency that reads a JSON object of at most `limit_bytes`; NaN and Infinity are not JSON.

    It raises `UnsupportedMediaType` unless the body is declared as JSON: a page of another site can send other types
    without asking (a CORS preflight). It raises `MalformedBody`, and `HTTPException` 413.
    """

    async def json_object(request: Request) -> dict[str, Any]:
        _require_json(request)
        content = await _read(request, limit_bytes)
        if len(content) > QUICK_BYTES:
            return await run_in_threadpool(_parsed, content)
        return _parsed(content)

    return json_object


def parse_images(content: bytes) -> Any:
    """Return the JSON value of a body that may hold images. Raises `BodyTooLarge`, `MalformedBody`."""
    if len(content) > IMAGES_JSON_BYTES:
        raise BodyTooLarge(
            f"The JSON is larger than {IMAGES_JSON_BYTES // 2**20} MiB.",
            "Send fewer images at a time, or send them as application/octet-stream: 784 bytes an image.",
        )
    if content.count(b"[") + content.count(b"{") > MAX_CONTAINERS:
        raise MalformedBody(f"The JSON has more than {MAX_CONTAINERS:,} lists and objects.", "Send images row by row.")
    return _loaded(content)


def _loaded(content: bytes) -> Any:
    if content.startswith(UTF_16_MARKS) or content[1:2] == b"\0" or content[:1] == b"\0":
        raise MalformedBody("The JSON is in UTF-16 or UTF-32.", "Send it in UTF-8 (RFC 8259, section 8.1).")
    try:
        return orjson.loads(content.removeprefix(UTF_8_MARK))
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from error


def _require_json(request: Request) -> None:
    media_type = media_type_of(request.headers.get("content-type"))
    if media_type != JSON and not media_type.endswith("+json"):
        declared = f"declared as {media_type}" if media_type else "not declared as JSON"
        raise UnsupportedMediaType(
            f"The body is {declared}; this operation reads JSON.",
            "Send the header `Content-Type: application/json` (curl: --json instead of -d).",
        )


async def _read(request: Request, limit_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            detail = (
                f"The JSON is larger than {limit_bytes // 1024} KiB. No valid request of this operation is as large."
            )
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        parts.append(part)
    return b"".join(parts)


def _parsed(content: bytes) -> dict[str, Any]:
    parsed = _loaded(content)
    if not isinstance(parsed, dict):
        raise MalformedBody("The body must be a JSON object, in braces.")
    _check_sizes(parsed)
    return parsed


def _check_sizes(parsed: Any) -> None:
    left = [parsed]
    while left:
        value = left.pop()
        is_object = isinstance(value, dict)
        limit, what = (MAX_FIELDS, "an object with") if is_object else (MAX_ITEMS, "a list of")
        if len(value) > limit:
            raise MalformedBody(f"The body has {what} {len(value)} items; at most {limit} are read.", "Send fewer.")
        left += [part for part in (value.values() if is_object else value) if isinstance(part, dict | list)]
