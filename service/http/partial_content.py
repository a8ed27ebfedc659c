"""Responses with ETag, digest and byte ranges (RFC 9110, RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import NamedTuple

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers

ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
"""More digits than these name no byte of any file; such a range is malformed."""


class Content(NamedTuple):
    """A representation that a response sends whole or in part: its size, its SHA-256 in hex, and how to read a part."""

    size_bytes: int
    sha256: str
    read: Callable[[int, int], Iterable[bytes]]
    """Returns the bytes from a first one to before a last one, in pieces."""


def content_of_bytes(content: bytes) -> Content:
    """Return bytes in memory as a representation."""
    return Content(len(content), hashlib.sha256(content).hexdigest(), lambda first, end: [content[first:end]])


def partial_response(content: Content, media_type: str, file_name: str, asked: Headers) -> Response:
    """Return the content (200), the requested range of it (206), or 304 if `If-None-Match` matches.

    A range outside the content gets 416. Several ranges, or a malformed `Range`, get the whole content, as RFC 9110
    allows. `asked` are the headers of the request.
    """
    digest = bytes.fromhex(content.sha256)
    headers = {
        "ETag": f'"{content.sha256}"',
        "Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
        "Content-Disposition": f'attachment; filename="{file_name}"',
    }
    if headers["ETag"] in _listed(asked.get("if-none-match", "")) or asked.get("if-none-match") == "*":
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    part, size = ONE_RANGE.fullmatch(asked.get("range", "").replace(" ", "")), content.size_bytes
    first, last, status = 0, size - 1, HTTPStatus.OK
    if part is not None and part.groups() != ("", "") and asked.get("if-range", headers["ETag"]) == headers["ETag"]:
        first, last = _limits(part[1], part[2], size)
        if first > last or first >= size:
            outside = headers | {"Content-Range": f"bytes */{size}"}
            return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=outside)
        headers["Content-Range"], status = f"bytes {first}-{last}/{size}", HTTPStatus.PARTIAL_CONTENT
    headers["Content-Length"] = str(last + 1 - first)
    return StreamingResponse(content.read(first, last + 1), status, headers, media_type)


def _limits(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:  # a suffix range: the last N bytes
        return max(0, size - int(last)), size - 1 if int(last) else -1
    return int(first), min(int(last), size - 1) if last else size - 1


def _listed(etags: str) -> list[str]:
    return [etag.strip().removeprefix("W/") for etag in etags.split(",")]
