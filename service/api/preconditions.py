"""Entity tags: the version of what a client may edit, and the header that asks for it."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, Response

from service.errors import PreconditionFailed
from service.store.descriptions import ANY_VERSION, Versions

IfMatch = Annotated[
    list[str] | None,
    Header(alias="If-Match", description="Only if the resource has one of these ETags (*: if it exists); else 412."),
]

_ETAG = re.compile(r'(?:W/)?(?:"([^"\s]+)"|([^"\s]+))', re.ASCII)
"""An ETag (RFC 9110, section 8.8.3); also without quotes, as some clients send it."""


def versions_in(etags: list[str] | None) -> Versions | None:
    """Return the versions in lists of ETags (RFC 9110, section 13.1.1), or `*`; None without a list.

    Several lines of the header are one list, and its empty parts mean nothing (5.3, 5.6.1). A `*` in quotes is an ETag
    that nothing has. Raises `PreconditionFailed` if it is no list.
    """
    if etags is None:
        return None
    parts = [part.strip() for line in etags for part in line.split(",") if part.strip()]
    found = [_ETAG.fullmatch(part) for part in parts]
    versions = tuple('"*"' if match[1] == ANY_VERSION else match[1] or match[2] for match in found if match is not None)
    if not versions or len(versions) < len(found):
        raise PreconditionFailed(
            f"If-Match {', '.join(etags)[:100]!r} is not a list of ETags.",
            'Send an ETag as GET returned it: If-Match: "3".',
        )
    return versions


def set_etag(response: Response, version: int) -> None:
    """Set the ETag of a resource with this version."""
    response.headers["ETag"] = f'"{version}"'
