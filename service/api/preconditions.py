"""Entity tags: the version of what a client may edit, and the header that asks for it."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header, Response

from service.errors import PreconditionFailed
from service.store.descriptions import Versions

IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", description="Only if the resource has one of these ETags (*: if it exists); else 412."),
]


_ETAG = re.compile(r'(?:W/)?(?:"([^"\s]+)"|([^"\s]+))', re.ASCII)
"""An ETag (RFC 9110, section 8.8.3); also without quotes, as some clients send it."""


def versions_in(etags: str | None) -> Versions | None:
    """Return the versions in a list of ETags (RFC 9110, section 13.1.1), or `*`; None without a list.

    Raises `PreconditionFailed` if it is none.
    """
    if etags is None:
        return None
    found = [_ETAG.fullmatch(part.strip()) for part in etags.split(",")]
    versions = tuple(match[1] or match[2] for match in found if match is not None)
    if len(versions) < len(found):
        raise PreconditionFailed(
            f"If-Match {etags[:100]!r} is not a list of ETags.", 'Send an ETag as GET returned it: If-Match: "3".'
        )
    return versions


def set_etag(response: Response, version: int) -> None:
    """Set the ETag of a resource with this version."""
    response.headers["ETag"] = f'"{version}"'
