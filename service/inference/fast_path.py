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
from typing import NamedTuple

import numpy as np
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.inference.fitted_digit import SIDE
from service.errors import MalformedBody
from service.http.json_body import media_type_of
from service.inference.batching import MicroBatcher
from service.inference.decoding import Decoding, cost_of
from service.inference.image_decoding import OCTETS, read_files, read_unwrapped, unwrap
from service.inference.images import IMAGE_PIXELS, MAX_IMAGES, ReadImages
from service.inference.picture_headers import decoding_bytes
from service.inference.query import PredictQuery, read_query, with_options
from service.inference.written_answers import Answer, answer

SIGNED = b"\x89\x93"
"""The first bytes of PNG and .npy, with which no digit of MNIST begins."""

QUICK_DECODING_BYTES = 64 * 1024
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
        query = read_query(scope["query_string"], None if named is None else named[1])
        answered = await respond(self._answering(), scope, await _body(receive), query)
        headers = [
            (b"content-type", answered.media_type.encode()),
            (b"content-length", b"%d" % len(answered.content)),
            (b"x-model", answered.model.encode()),
        ]
        if answered.warnings:
            headers.append((b"x-warnings", answered.warnings.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answered.content})


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


async def respond(answering: MicroBatcher, scope: Scope, body: bytes, query: PredictQuery) -> Answer:
    """Return the response to a prediction."""
    content_type, accept = content_type_and_accept(scope)
    read, query = await read_body(answering, scope, body, media_type_of(content_type), query)
    return await answer(answering, read, query, accept)


async def read_body(
    answering: MicroBatcher, scope: Scope, body: bytes, media_type: str, query: PredictQuery
) -> tuple[ReadImages, PredictQuery]:
    """Return the images of any body that a prediction may have, and the query with the options in it."""
    if media_type == "multipart/form-data":
        return await _read_form(answering, scope, body, query)
    return await read_images(answering.decoding, body, media_type, query)


async def read_images(
    decoding: Decoding, body: bytes, media_type: str, query: PredictQuery
) -> tuple[ReadImages, PredictQuery]:
    """Return the images of a body, and the query with the options in it; what takes long is done on other threads."""
    if len(body) == IMAGE_PIXELS and media_type == OCTETS and query.reads_one_digit and body[0] not in SIGNED:
        return ReadImages(np.frombuffer(body, np.uint8).reshape(1, SIDE, SIDE), "raw"), query  # the most frequent case
    if len(body) > QUICK_BYTES:
        unwrapped = await decoding.run(partial(unwrap, body, media_type, query), body)
    else:
        unwrapped = unwrap(body, media_type, query)
    if len(body) > QUICK_BYTES or unwrapped.query.fit or decoding_bytes(unwrapped.content) > QUICK_DECODING_BYTES:
        read = await decoding.run(partial(read_unwrapped, unwrapped), unwrapped.content or body)
    else:
        read = read_unwrapped(unwrapped)
    return read, unwrapped.query


async def _read_form(
    answering: MicroBatcher, scope: Scope, body: bytes, query: PredictQuery
) -> tuple[ReadImages, PredictQuery]:
    form = await parsed_form(answering.decoding, scope, body)
    query = with_options(query, form.fields) if form.fields else query
    largest = max((content for content, _ in form.files), key=cost_of, default=b"")  # they are decoded one at a time
    read = await answering.decoding.run(partial(read_files, form.files, fit=query.fit), largest)
    return read, query


class ParsedForm(NamedTuple):
    """A form: content and media type of each file, and its other fields."""

    files: list[tuple[bytes, str]]
    fields: dict[str, str]


async def parsed_form(decoding: Decoding, scope: Scope, body: bytes) -> ParsedForm:
    """Parse a form, a large one on another thread: the parser is written in Python, and takes long for many files."""
    if len(body) > QUICK_BYTES:
        return await decoding.run(lambda: asyncio.run(_form_of_request(scope, body)), body)
    return await _form_of_request(scope, body)


async def _form_of_request(scope: Scope, body: bytes) -> ParsedForm:
    """Parse a form. Raises `MalformedBody`."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(scope, receive).form(max_files=MAX_IMAGES, max_fields=100) as form:
            files: list[tuple[bytes, str]] = []
            fields: dict[str, str] = {}
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    if not value.filename and not value.size:
                        continue  # a browser's file field in which nothing was chosen
                    files.append((await value.read(), media_type_of(value.content_type)))
                elif name in fields:
                    raise MalformedBody(f"The form has the field {name!r} more than once.")
                else:
                    fields[name] = value
            return ParsedForm(files, fields)
    except (MultiPartException, ValueError, LookupError) as error:  # the latter two of a charset that decodes nothing
        raise MalformedBody(f"The body is not a form: {error}", "Let the client set the boundary.") from error


def content_type_and_accept(scope: Scope) -> tuple[str, str]:
    """Return two headers, empty if the client sent none; several lines of Accept are one list (RFC 9110, 5.3)."""
    content_type = accept = b""
    for key, value in scope["headers"]:
        if key == b"content-type":
            content_type = value
        elif key == b"accept":
            accept = accept + b", " + value if accept else value
    return content_type.decode("latin-1"), accept.decode("latin-1")
