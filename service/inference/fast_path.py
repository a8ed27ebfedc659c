"""Predictions without the framework, which would take as long as the prediction itself.

`POST /predict` and `POST /models/{id}/predict` are handled here, behind the guard. FastAPI documents both
operations and answers them by the same code.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import MalformedBody
from service.http.json_body import media_type_of
from service.inference.batching import MicroBatcher, answer
from service.inference.decoding import cost_of
from service.inference.image_decoding import read_body, read_files
from service.inference.images import MAX_IMAGES, ReadImages
from service.inference.query import PredictQuery, read_query

log = logging.getLogger(__name__)

OF_MODEL = re.compile(r"/models/([^/]+)/predict")
QUICK_BYTES = 16_384
"""Larger bodies are decoded on another thread: decoding takes longer than switching threads."""


class PredictFastPath:
    """Answers predictions, and passes all other requests to the application (ASGI)."""

    def __init__(self, app: ASGIApp, answering: Callable[[], MicroBatcher]) -> None:
        self._app = app
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        named = None
        if path != "/predict":
            named = OF_MODEL.fullmatch(path)
            if named is None:
                await self._app(scope, receive, send)
                return
        query = read_query(scope["query_string"])
        if named is not None:
            query = query.model_copy(update={"model": named[1], "models": None})
        content, media_type, model = await respond(self._answering(), scope, await _body(receive), query)
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(content)),
            (b"x-model", model.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


async def respond(answering: MicroBatcher, scope: Scope, body: bytes, query: PredictQuery) -> tuple[bytes, str, str]:
    """Return a response's content, its media type, and the model as JOB@EPOCH (empty if several models predicted)."""
    media_type = media_type_of(header(scope, b"content-type"))
    if media_type == "multipart/form-data":
        read = await _read_form(answering, scope, body, fit=query.fit)
    elif len(body) > QUICK_BYTES or query.fit:
        decode = partial(read_body, body, media_type, fit=query.fit, scale=query.scale)
        read = await answering.decoding.run(decode, body)
    else:
        read = read_body(body, media_type, fit=query.fit, scale=query.scale)
    return await answer(answering, read, query, header(scope, b"accept"))


async def _read_form(answering: MicroBatcher, scope: Scope, body: bytes, *, fit: bool) -> ReadImages:
    if len(body) > QUICK_BYTES:  # the parser is written in Python: a form of thousands of files takes it half a second
        files = await answering.decoding.run(lambda: asyncio.run(_files_of(scope, body)), body)
    else:
        files = await _files_of(scope, body)
    largest = max((content for content, _ in files), key=cost_of, default=b"")  # they are decoded one at a time
    return await answering.decoding.run(partial(read_files, files, fit=fit), largest)


async def _files_of(scope: Scope, body: bytes) -> list[tuple[bytes, str]]:
    """Return the content and the media type of each file of a form."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(scope, receive).form(max_files=MAX_IMAGES, max_fields=100) as form:
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            return [(await upload.read(), media_type_of(upload.content_type)) for upload in uploads]
    except (MultiPartException, ValueError, LookupError) as error:  # the latter two of a charset that decodes nothing
        raise MalformedBody(f"The body is not a form: {error}", "Let the client set the boundary.") from error


def header(scope: Scope, name: bytes) -> str:
    """Return the value of a header, or an empty string; `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""
