"""Requests of every operation that takes a body, and mutations of them: for `make fuzz`, and a small part in the tests.

A mutation changes bytes of the body, headers and the query; it never changes the path's template.
"""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

Headers = dict[bytes, bytes]
JSON: Headers = {b"content-type": b"application/json"}
DIGIT = np.zeros((28, 28), np.uint8)
DIGIT[4:24, 12:16] = 255

TYPES = (
    b"application/json",
    b"application/octet-stream",
    b"application/x-npy",
    b"image/png",
    b"image/jpeg",
    b"multipart/form-data; boundary=x",
    b"multipart/form-data; boundary=x; charset=punycode",
    b"text/plain; charset=undefined",
    b"application/x-www-form-urlencoded",
    b"",
)
VALUES = (
    b"",
    b"0",
    b"-1",
    b"\xb2",
    b"9" * 5000,
    b"*/*",
    b"a" * 3000,
    b"\xff\xfe",
    b"1e999",
    b"null",
    b"bytes=0-0",
    b'"x"',
)
NAMES = (
    b"accept",
    b"content-encoding",
    b"idempotency-key",
    b"if-match",
    b"if-none-match",
    b"inference-header-content-length",
    b"last-event-id",
    b"origin",
    b"range",
    b"x-forwarded-for",
)
QUERIES = (
    "",
    "?fit=true",
    "?top_k=3",
    "?scale=1",
    "?models=latest,latest",
    "?top_k=" + "9" * 400,
    "?fit=%00",
    "?model=%ff",
)
TOKENS = (
    b"[",
    b"{",
    b'"',
    b"}",
    b"]",
    b"null",
    b"1e400",
    b"-",
    b"9" * 40,
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"NaN",
)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    body: bytes
    headers: Headers


def _png(mode: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(DIGIT).resize(size).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(DIGIT).resize((56, 56)).save(buffer, "JPEG")
    return buffer.getvalue()


def seeds(model: str) -> list[Asked]:
    """Return a valid request of every operation with a body; `model` is the name of one."""
    png, pixels = _png("L", (28, 28)), DIGIT.tolist()
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    tensor = {"name": "images", "shape": [1, 784], "datatype": "UINT8", "data": DIGIT.ravel().tolist()}
    head = json.dumps({"inputs": [tensor | {"data": None, "parameters": {"binary_data_size": 784}}]}).encode()
    spec = {"preset": "mnist_nn_xavier", "epochs": 0, "init": {"scheme": "he_normal", "gain": 1.5}}
    grid = {
        "base": {"epochs": 0},
        "schemes": ["zeros", {"scheme": "normal", "std": 0.1}],
        "seeds": [1, 2],
        "depths": [1],
    }
    return [
        Asked("POST", "/predict", DIGIT.tobytes(), {b"content-type": b"application/octet-stream"}),
        Asked("POST", "/predict", png, {b"content-type": b"image/png"}),
        Asked("POST", "/predict?fit=true", _png("RGBA", (90, 70)), {b"content-type": b"image/png"}),
        Asked("POST", "/predict?fit=true", _jpeg(), {b"content-type": b"image/jpeg"}),
        Asked("POST", "/predict", _npy(DIGIT[None].astype(np.float32) / 255), {b"content-type": b"application/x-npy"}),
        Asked("POST", "/predict", json.dumps({"pixels": pixels}).encode(), JSON),
        Asked("POST", f"/models/{model}/predict", json.dumps([pixels] * 2).encode(), JSON),
        Asked("POST", "/predict", form + png + b"\r\n--x--\r\n", {b"content-type": b"multipart/form-data; boundary=x"}),
        Asked("POST", f"/models/{model}/classify", png, {b"content-type": b"image/png"}),
        Asked("POST", f"/models/{model}/classify", json.dumps({"inputs": "iVBORw0KGgo="}).encode(), JSON),
        Asked("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode(), JSON),
        Asked(
            "POST",
            f"/v2/models/{model}/infer",
            head + DIGIT.tobytes(),
            {b"inference-header-content-length": b"%d" % len(head)},
        ),
        Asked("POST", "/v2/repository/index", b"{}", JSON),
        Asked("POST", "/jobs", json.dumps(spec).encode(), JSON),
        Asked("POST", "/jobs?validate_only=true", json.dumps(spec | {"optimizer": {"name": "sgd"}}).encode(), JSON),
        Asked("POST", "/experiments", json.dumps(grid).encode(), JSON),
        Asked("POST", "/experiments", json.dumps({"recipe": "R7", "seeds": [1]}).encode(), JSON),
        Asked("PUT", "/aliases/champion", json.dumps({"model": model}).encode(), JSON),
    ]


def mutated(asked: Asked, chance: random.Random) -> Asked:
    """Return a request with one to four changes."""
    for change in chance.choices(CHANGES, WEIGHTS, k=chance.randint(1, 4)):
        asked = change(asked, chance)
    return replace(asked, body=asked.body[:MAX_BODY_BYTES])


def _flip(asked: Asked, chance: random.Random) -> Asked:
    body = bytearray(asked.body)
    for _ in range(chance.randint(1, 8) if body else 0):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return replace(asked, body=bytes(body))


def _cut(asked: Asked, chance: random.Random) -> Asked:
    return replace(asked, body=asked.body[: chance.randrange(len(asked.body) + 1)])


def _insert(asked: Asked, chance: random.Random) -> Asked:
    place = chance.randrange(len(asked.body) + 1)
    token = chance.choice(TOKENS) * chance.choice((1, 1, 1, 50, 2000))
    return replace(asked, body=asked.body[:place] + token + asked.body[place:])


def _repeat(asked: Asked, chance: random.Random) -> Asked:
    start, end = sorted(chance.randrange(len(asked.body) + 1) for _ in range(2))
    part = asked.body[start:end] * chance.choice((1, 3))
    return replace(asked, body=asked.body[:start] + part + asked.body[start:])


def _change_type(asked: Asked, chance: random.Random) -> Asked:
    return replace(asked, headers=asked.headers | {b"content-type": chance.choice(TYPES)})


def _add_header(asked: Asked, chance: random.Random) -> Asked:
    return replace(asked, headers=asked.headers | {chance.choice(NAMES): chance.choice(VALUES)})


def _add_query(asked: Asked, chance: random.Random) -> Asked:
    return asked if "?" in asked.path else replace(asked, path=asked.path + chance.choice(QUERIES))


MAX_BODY_BYTES = 2**20
CHANGES = (_flip, _cut, _insert, _repeat, _change_type, _add_header, _add_query)
WEIGHTS = (5, 2, 3, 2, 3, 4, 1)
