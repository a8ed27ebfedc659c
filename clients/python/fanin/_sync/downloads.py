"""Downloads of weights: checked against the digest that the service announces, and continued where they broke off."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import httpx

from fanin._sync.clock import sleep
from fanin._sync.transport import Transport
from fanin.errors import ConnectionFailed, DownloadDamaged
from fanin.retries import pause_s

TEMPLATE = "/models/{model_id}/weights"
PARTIAL = 206


def download(transport: Transport, model_id: str, format: str, target: Path) -> Path:
    """Write a model's weights to a file, and return its path; the file appears whole or not at all.

    A broken connection continues behind the bytes that have arrived, if the file is still the same (If-Range). Raises
    `ConnectionFailed` after too many breaks in a row, `DownloadDamaged`, `ApiError`.
    """
    part = target.with_name(f".{target.name}.part")
    digest, etag, announced, failures = hashlib.sha256(), "", "", 0
    try:
        with part.open("wb") as file:
            while True:
                before = file.tell()
                headers = {"Range": f"bytes={before}-", "If-Range": etag} if before and etag else {}
                try:
                    with transport.stream(
                        TEMPLATE, {"model_id": model_id}, query={"format": format}, headers=headers
                    ) as response:
                        if before and response.status_code != PARTIAL:
                            file.seek(0)
                            file.truncate()
                            digest = hashlib.sha256()
                        etag, announced = response.headers.get("ETag", ""), response.headers.get("Repr-Digest", "")
                        for piece in response.iter_raw():
                            file.write(piece)
                            digest.update(piece)
                    break
                except httpx.TransportError as error:
                    failures = failures + 1 if file.tell() == before else 1
                    if failures > transport.max_retries:
                        raise ConnectionFailed(
                            f"The download of {model_id} broke off {failures} times: {error}"
                        ) from error
                    sleep(pause_s(failures))
        found = base64.b64encode(digest.digest()).decode()
        if announced and f"sha-256=:{found}:" not in announced:
            raise DownloadDamaged(
                f"The weights of {model_id} have another SHA-256 than the service announced. Try again."
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
