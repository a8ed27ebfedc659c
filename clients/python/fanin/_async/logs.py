"""The log of a job: as a text, or line by line as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fanin._async import streams
from fanin._async.transport import AsyncTransport


async def text_of(transport: AsyncTransport, job_id: str, attempt: int | None, tail: int | None) -> str:
    """Return the log of an attempt (None: the last one), or its last `tail` lines."""
    path, query, headers = {"job_id": job_id}, {"attempt": attempt, "tail": tail}, {"Accept": "text/plain"}
    return (await transport.request("GET", "/jobs/{job_id}/logs", path, query=query, headers=headers)).text


async def lines_of(transport: AsyncTransport, job_id: str, attempt: int | None, tail: int | None) -> AsyncIterator[str]:
    """Yield the lines of a log until its job has ended; after a broken connection it goes on behind the last one."""
    path, query = {"job_id": job_id}, {"attempt": attempt, "tail": tail}
    async for event in streams.events(transport, "/jobs/{job_id}/logs", path, query, is_ordered=False):
        for line in event.to_dict()["lines"]:
            yield line
