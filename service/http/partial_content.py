"""Responses with ETag, digest and byte ranges (RFC 9110, RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus

from fastapi import Response
from starlette.datastructures import Headers

ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
"""More digits than these name no byte of any file; such a range is malformed."""


def partial_response(content: bytes, media_type: str, file_name: str, asked: Headers) -> Response:
    """Return the content (200), the requested range of it (206), or 304 if `If-None-Match` matches.

    A range outside the content gets 416. Several ranges, or a malformed `Range`, get the whole content, as RFC 9110
    allows. `asked` are the headers of the request.
    """
    digest = hashlib.sha256(content).digest()
    headers = {
        "ETag": f'"{digest.hex()}"',
        "Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
        "Content-Disposition": f'attachment; filename="{file_name}"',
    }
    if headers["ETag"] in _listed(asked.get("if-none-match", "")) or asked.get("if-none-match") == "*":
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    part = ONE_RANGE.fullmatch(asked.get("range", "").replace(" ", ""))
    if part is None or part.groups() == ("", "") or asked.get("if-range", headers["ETag"]) != headers["ETag"]:
        return Response(content, headers=headers, media_type=media_type)
    first, last = _limits(part[1], part[2], len(content))
    if first > last or first >= len(content):
        outside = headers | {"Content-Range": f"bytes */{len(content)}"}
        return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=outside)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return Response(content[first : last + 1], HTTPStatus.PARTIAL_CONTENT, headers, media_type)


def _limits(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:  # a suffix range: the last N bytes
        return max(0, size - int(last)), size - 1 if int(last) else -1
    return int(first), min(int(last), size - 1) if last else size - 1


def _listed(etags: str) -> list[str]:
    return [etag.strip().removeprefix("W/") for etag in etags.split(",")]
