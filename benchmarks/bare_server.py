"""Baseline servers: a bare ASGI application that reads a body and sends a fixed response, and the same in FastAPI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

ANSWER = b'{"label":7,"probabilities":[' + b",".join([b"0.10000000"] * 10) + b'],"model":{"id":"' + b"x" * 150 + b'"}}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve one connection (ASGI)."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


echo = FastAPI()


@echo.post("/predict")
async def predict(request: Request) -> Response:
    """Read the body and return the fixed response."""
    await request.body()
    return Response(ANSWER, media_type="application/json")
