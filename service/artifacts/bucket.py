"""Checkpoint files in object storage (S3, Google Cloud Storage, Azure), by obstore.

A new file is one PUT with the condition that the object does not exist: it appears whole or not at all, and is never
overwritten. A multipart upload would ignore that condition. Files are read in pieces, each by a request of its own: a
cut answer costs one piece. Requests that fail are repeated here and not by obstore, which does not repeat a conditional
PUT: the content tells whether one whose answer was lost has succeeded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import from_url

from models.errors import CheckpointDamaged
from service.artifacts.store import Condition, Log, StoredFile
from service.errors import Unavailable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PIECE_BYTES = 8 * 2**20
REQUESTS_AT_ONCE = 16
CHECKED_KEPT = 10_000
CONNECT_LIMIT_S = 5
SLOWEST_BYTES_PER_S = 2**20
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
PROBE = "readiness"
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
QUERY = re.compile(r"\?\S*")


class CutAnswer(Exception):
    """An answer ended before its last byte."""


FAILED = (BaseError, CutAnswer, OSError)
"""What obstore raises if a request fails; time-outs of its streams are an OSError."""


class Piece(NamedTuple):
    """A part of an object, the object's size, and what changes with its content."""

    content: bytes
    size_bytes: int
    state: str


class Bucket:
    """The objects below an address such as s3://bucket/prefix; the contracts are those of `Artifacts`.

    Credentials, region and endpoint come from the environment, under the names that the providers' own tools use. A
    request may take `request_s`, and longer if it writes much; while it fails it is repeated for `repeat_s`. Refused
    credentials and a missing bucket are not waited for.
    """

    def __init__(self, url: str, request_s: float, repeat_s: float) -> None:
        self.where = url
        self._request_s, self._repeat_s = request_s, repeat_s
        self._stores: dict[int, ObjectStore] = {}
        self._checked: dict[str, tuple[str, str]] = {}
        self._requests = ThreadPoolExecutor(REQUESTS_AT_ONCE, "objects")

    def _store(self, size_bytes: int = 0) -> ObjectStore:
        """Return the client for requests that send so many bytes: obstore has one time limit for all of a client."""
        limit_s = int(self._request_s) << (size_bytes // SLOWEST_BYTES_PER_S // int(self._request_s)).bit_length()
        if limit_s not in self._stores:
            options: Any = {"timeout": f"{limit_s}s", "connect_timeout": f"{CONNECT_LIMIT_S}s"}
            if any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS):
                options["allow_http"] = True
            self._stores[limit_s] = from_url(self.where, client_options=options, retry_config={"max_retries": 0})
        return self._stores[limit_s]

    def _repeated(self, call: Callable[[], Result]) -> Result:
        """Return what `call` returns, repeated while the storage fails. Raises `FileNotFoundError`, `Unavailable`."""
        until, pause_s = time.monotonic() + self._repeat_s, FIRST_PAUSE_S
        while True:
            try:
                return call()
            except (PermissionDeniedError, UnauthenticatedError) as error:
                log.warning("the object storage refuses: %s", _text(error))
                raise Unavailable(
                    "The object storage refuses this service.", "Check its credentials, its rights and the clock."
                ) from None
            except FileNotFoundError as error:
                if any(mark in str(error) for mark in NO_BUCKET):
                    raise Unavailable("The bucket of the checkpoints does not exist.", "Make it.") from None
                raise
            except FileExistsError:
                raise
            except FAILED as error:
                if time.monotonic() + pause_s > until:
                    raise Unavailable("The object storage does not answer.", "Try again soon.") from None
                log.warning("the object storage failed, trying again in %.1f s: %s", pause_s, _text(error))
                time.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311 - spreads the repetitions of many processes
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def write(self, path: str, content: bytes) -> str:
        """Write a new object as `write_all` does."""
        return self.write_all({path: content})[path]

    def write_all(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Write new objects concurrently, and hash them meanwhile."""
        sent = [self._requests.submit(self._create, path, content) for path, content in contents.items()]
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
        for one in sent:
            one.result()
        return digests

    def _create(self, path: str, content: bytes) -> None:
        is_unsure = False  # whether an earlier request may have arrived though its answer did not

        def put() -> None:
            nonlocal is_unsure
            try:
                obstore.put(self._store(len(content)), path, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                if not is_unsure or self._content(path) != content:
                    raise FileExistsError(f"{path} exists already; checkpoint files are immutable") from None
            except FAILED:
                is_unsure = True
                raise

        self._repeated(put)

    def _piece(self, path: str, first: int, end: int) -> Piece:
        def get() -> Piece:
            answer = obstore.get(self._store(), path, options={"range": (first, end)})
            content, (begin, last) = answer.bytes().to_bytes(), answer.range
            if len(content) != last - begin:
                raise CutAnswer(f"{len(content)} of {last - begin} bytes of {path} came")
            return Piece(content, answer.meta["size"], str(answer.meta["e_tag"]))

        return self._repeated(get)

    def _pieces(self, path: str, first: int, end: int | None = None) -> Iterator[Piece]:
        """Yield an object from a byte to before another, or to its end. Raises `CheckpointDamaged` if it is missing."""
        while end is None or first < end:
            last = first + PIECE_BYTES if end is None else min(end, first + PIECE_BYTES)
            try:
                piece = self._piece(path, first, last)
            except FileNotFoundError:
                raise CheckpointDamaged(f"The checkpoint file {path} is missing.") from None
            end = piece.size_bytes if end is None else end
            first += len(piece.content)
            yield piece

    def _content(self, path: str) -> bytes:
        return b"".join(piece.content for piece in self._pieces(path, 0))

    def read(self, path: str, sha256: str) -> bytes:
        """Return the content of an object, compared with its SHA-256."""
        content = self._content(path)
        _compare(path, hashlib.sha256(content).hexdigest(), sha256)
        return content

    def stored(self, path: str, sha256: str) -> StoredFile:
        """Return an object to be read in parts; its ETag tells whether it is the one that was compared."""
        try:
            found = self._repeated(lambda: obstore.head(self._store(), path))
        except FileNotFoundError:
            raise CheckpointDamaged(f"The checkpoint file {path} is missing.") from None
        if self._checked.get(path) != (str(found["e_tag"]), sha256):
            digest, state = hashlib.sha256(), ""
            for piece in self._pieces(path, 0):
                digest.update(piece.content)
                state = piece.state
            _compare(path, digest.hexdigest(), sha256)
            if len(self._checked) >= CHECKED_KEPT:
                self._checked.clear()
            self._checked[path] = state, sha256
        return StoredFile(found["size"], sha256, partial(self._parts, path))

    def _parts(self, path: str, first: int, end: int) -> Iterator[bytes]:
        for piece in self._pieces(path, first, end):
            yield piece.content

    @contextmanager
    def local_copy(self, path: str, sha256: str) -> Iterator[Path]:
        """Yield a temporary file with the content of an object, compared with its SHA-256."""
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(prefix="fanin-") as file:
            for piece in self._pieces(path, 0):
                digest.update(piece.content)
                file.write(piece.content)
            file.flush()
            _compare(path, digest.hexdigest(), sha256)
            yield Path(file.name)

    def replace(self, path: str, content: bytes) -> None:
        """Write an object, over an older one if there is one."""
        self._repeated(lambda: obstore.put(self._store(len(content)), path, content, use_multipart=False))

    def read_log(self, path: str, known: str | None = None) -> Log | None:
        """Return an object that may be written again; its ETag is its state."""

        def get() -> Log:
            try:
                answer = obstore.get(self._store(), path, options={"if_none_match": known} if known else None)
            except NotModifiedError:
                return Log(None, str(known))
            return Log(answer.bytes().to_bytes(), str(answer.meta["e_tag"]))

        try:
            return self._repeated(get)
        except FileNotFoundError:
            return None

    def delete(self, path: str) -> None:
        """Delete an object, if it exists."""
        self._delete([path])

    def delete_below(self, path: str) -> None:
        """Delete all objects below a path."""
        self._delete(self.list_below(path))

    def _delete(self, paths: list[str]) -> None:
        def delete() -> None:
            try:
                obstore.delete(self._store(), paths)
            except FileNotFoundError as error:  # some providers say so
                if any(mark in str(error) for mark in NO_BUCKET):
                    raise

        if paths:
            self._repeated(delete)

    def list_below(self, path: str) -> list[str]:
        """Return the sorted paths of all objects below a path."""

        def listed() -> list[str]:
            return sorted(one["path"] for some in obstore.list(self._store(), path or None) for one in some)

        return self._repeated(listed)

    def list_folders(self, path: str) -> list[str]:
        """Return the sorted names of the next parts of the paths of all objects below a path."""
        found = self._repeated(lambda: obstore.list_with_delimiter(self._store(), path or None))
        return sorted(folder.rpartition("/")[2] for folder in found["common_prefixes"])

    def check(self) -> Condition:
        """Write a small object, unless only reading is allowed."""
        try:
            self._repeated(partial(self._put_probe, self._store()))
        except ReadOnly:
            return Condition(is_writable=False, free_bytes=None)
        return Condition(is_writable=True, free_bytes=None)

    def _put_probe(self, store: ObjectStore) -> None:
        try:
            obstore.put(store, PROBE, b"1", use_multipart=False)
        except PermissionDeniedError:
            obstore.list_with_delimiter(store, PROBE)  # raises the same error if reading is refused, too
            raise ReadOnly from None


class ReadOnly(Exception):
    """The credentials allow reading alone."""


def _compare(path: str, found: str, sha256: str) -> None:
    if found != sha256:
        raise CheckpointDamaged(f"The checkpoint file {path} is damaged: its SHA-256 differs from the recorded one.")


def _text(error: Exception) -> str:
    """Return the first line of an error, without the signatures that an address may have."""
    return QUERY.sub("?...", str(error).partition("\n")[0] or type(error).__name__)
