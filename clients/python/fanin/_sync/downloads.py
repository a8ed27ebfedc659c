"""Downloads of weights: checked against the digest that the service announces, and continued where they broke off."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from fanin._sync.clock import sleep
from fanin._sync.transport import Transport
from fanin.errors import ApiError, BadAnswer, ConnectionFailed, DownloadDamaged
from fanin.retries import RETRIED_STATUSES, pause_s

TEMPLATE = "/models/{model_id}/weights"
PARTIAL = 206


@dataclass
class _Part:
    """The file that a download is written to, and which version of the weights it is of."""

    file: BinaryIO
    etag: str = ""
    announced: str = ""
    most: int = 0


def download(transport: Transport, model_id: str, format: str, target: Path) -> Path:
    """Write a model's weights to a file, and return its path; the file appears whole or not at all.

    A broken connection continues behind the bytes that have arrived, if the file is still the same (If-Range). Raises
    `ConnectionFailed` after too many breaks in a row, `DownloadDamaged`, `ApiError`, and `OSError`.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; name a file.")
    # A file of its own for each download: two to one target, and a link that somebody has put there, cannot meet.
    handle, name = tempfile.mkstemp(prefix=".fanin-", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            part = _Part(file)
            _fill(transport, model_id, format, part)
            _check(part)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
    return target


def _fill(transport: Transport, model_id: str, format: str, part: _Part) -> None:
    failures = 0
    while True:
        try:
            _continue(transport, model_id, format, part)
        except (httpx.TransportError, ApiError) as error:  # noqa: PERF203 - each connection may break
            if isinstance(error, ApiError) and error.status not in RETRIED_STATUSES:
                raise
            size = part.file.tell()
            failures, part.most = (1, size) if size > part.most else (failures + 1, part.most)
            if failures > transport.max_retries:
                raise ConnectionFailed(f"The download broke off {failures} times: {error}") from error
            sleep(pause_s(failures))
        else:
            return


def _continue(transport: Transport, model_id: str, format: str, part: _Part) -> None:
    before = part.file.tell()
    headers = {"Accept": "*/*"} | ({"Range": f"bytes={before}-", "If-Range": part.etag} if before and part.etag else {})
    path, query = {"model_id": model_id}, {"format": format}
    with transport.stream(TEMPLATE, path, query=query, headers=headers) as response:
        if "Repr-Digest" not in response.headers or "Content-Encoding" in response.headers:
            raise BadAnswer(f"{response.url} sent no file of weights. Is there a proxy before the service?")
        if before and response.status_code != PARTIAL:
            part.file.seek(0)
            part.file.truncate()
        part.etag, part.announced = response.headers.get("ETag", ""), response.headers["Repr-Digest"]
        for piece in response.iter_raw():
            part.file.write(piece)


def _check(part: _Part) -> None:
    part.file.seek(0)
    digest = hashlib.sha256()
    while piece := part.file.read(1 << 20):
        digest.update(piece)
    if f"sha-256=:{base64.b64encode(digest.digest()).decode()}:" not in part.announced:
        raise DownloadDamaged("The bytes do not have the SHA-256 that the service announced. Try again.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
