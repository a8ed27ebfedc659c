"""Entity tags: the version of what a client may edit, and the header that asks for it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Response

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="Only if the resource has this ETag (*: if it exists); else 412.")
]


def version_of(etag: str | None) -> str | None:
    """Return the version in an ETag, or `*`; None without one."""
    return None if etag is None else etag.strip().removeprefix("W/").strip('"')


def set_etag(response: Response, version: int) -> None:
    """Set the ETag of a resource with this version."""
    response.headers["ETag"] = f'"{version}"'
