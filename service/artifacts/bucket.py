"""Checkpoint files in object storage (S3, Google Cloud Storage, Azure), by obstore.

A new file is one PUT with the condition that the object does not exist: it appears whole or not at all, and is never
overwritten. A multipart upload would ignore that condition. Files are read in pieces, each by a request of its own: a
cut answer costs one piece. Requests that fail are repeated here and not by obstore, which does not repeat a conditional
PUT: the content tells whether one whose answer was lost has succeeded.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotModifiedError, PermissionDeniedError
from obstore.store import from_url

from models.errors import CheckpointDamaged
from service.artifacts.comparison import Compared, compare, damaged, missing
from service.artifacts.repetition import FAILED, CutAnswer, Repetition
from service.artifacts.store import Condition, Log, StoredFile
from service.errors import WrongSettings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PIECE_BYTES = 8 * 2**20
REQUESTS_AT_ONCE = 16
CONNECT_LIMIT_S = 5
SLOWEST_BYTES_PER_S = 2**20
PROBE = "readiness"
ABSENT = "readiness-absent"
WRITTEN_EVERY_S = 60.0
LOG_LIMIT_S = 5.0
TOO_SHORT = "status code: 416"
VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")


class Piece(NamedTuple):
    """A part of an object, the object's size, and what changes with its content."""

    content: bytes
    size_bytes: int
    state: str


class Bucket:
    """The objects below an address such as s3://bucket/prefix; the contracts are those of `Artifacts`.

    Credentials, region and endpoint come from the environment, under the names that the providers' own tools use. A
    request may take `request_s`, and longer if it writes much; while it fails it is repeated for `repeat_s`.
    """

    is_remote = True

    def __init__(self, url: str, request_s: float, repeat_s: float) -> None:
        """Raise `WrongSettings` if the environment has no valid configuration of the provider."""
        self.where = url
        self._request_s = request_s
        self._repeated = Repetition(repeat_s)
        self._stores: dict[int, ObjectStore] = {}
        self._compared = Compared()
        self._requests = ThreadPoolExecutor(REQUESTS_AT_ONCE, "objects")
        self._written_at = -math.inf
        try:
            self._store()
        except (BaseError, ValueError):  # their texts may quote a key
            scheme = url.partition(":")[0]
            raise WrongSettings(
                f"FANIN_ARTIFACTS_URL: the environment does not say how to use {scheme}://.",
                f"Set the variables of the provider's tools, such as {VARIABLES.get(scheme, VARIABLES['s3'])}.",
            ) from None

    @property
    def is_waiting(self) -> bool:
        """Return whether a request has failed and is repeated."""
        return self._repeated.is_waiting

    def _store(self, size_bytes: int = 0) -> ObjectStore:
        """Return the client for requests that send so many bytes at once: obstore has one time limit for a client."""
        limit_s = int(self._request_s) << (size_bytes // SLOWEST_BYTES_PER_S // int(self._request_s)).bit_length()
        if limit_s not in self._stores:
            options: Any = {"timeout": f"{limit_s}s", "connect_timeout": f"{CONNECT_LIMIT_S}s"}
            if any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS):
                options["allow_http"] = True
            self._stores[limit_s] = from_url(self.where, client_options=options, retry_config={"max_retries": 0})
        return self._stores[limit_s]

    def write(self, path: str, content: bytes) -> str:
        """Write a new object as `write_all` does."""
        return self.write_all({path: content})[path]

    def write_all(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Write new objects concurrently, and hash them meanwhile."""
        together = sum(map(len, contents.values()))  # they share the line
        sent = [self._requests.submit(self._create, path, content, together) for path, content in contents.items()]
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
        for one in sent:
            one.result()
        return digests

    def _create(self, path: str, content: bytes, sent_bytes: int) -> None:
        is_unsure = False  # whether an earlier request may have arrived though its answer did not

        def put() -> None:
            nonlocal is_unsure
            try:
                obstore.put(self._store(sent_bytes), path, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                if self._existing(path) != content or not is_unsure:
                    raise FileExistsError(f"{path} exists already; checkpoint files are immutable") from None
            except FAILED:
                is_unsure = True
                raise

        self._repeated(put)

    def _existing(self, path: str) -> bytes:
        """Return what is at a path of which the storage has said that something is there.

        Raises `CutAnswer` if nothing is: S3 says the same of a path to which another request is being written.
        """
        try:
            return b"".join(piece.content for piece in self._pieces(path, 0))
        except CheckpointDamaged:
            raise CutAnswer(f"{path} exists, and is not there") from None

    def _piece(self, path: str, first: int, end: int) -> Piece:
        def get() -> Piece:
            try:
                answer = obstore.get(self._store(), path, options={"range": (first, end)})
            except BaseError as error:
                if TOO_SHORT in str(error):
                    raise damaged(path, "it is shorter than it was") from None
                raise
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
                raise missing(path) from None
            end = piece.size_bytes if end is None else end
            first += len(piece.content)
            yield piece

    def _compared_pieces(self, path: str, sha256: str) -> Iterator[Piece]:
        """Yield a whole object, and at its end compare it with its SHA-256. Raises `CheckpointDamaged`."""
        digest = hashlib.sha256()
        for piece in self._pieces(path, 0):
            digest.update(piece.content)
            yield piece
        compare(path, digest.hexdigest(), sha256)

    def read(self, path: str, sha256: str) -> bytes:
        """Return the content of an object, compared with its SHA-256."""
        return b"".join(piece.content for piece in self._compared_pieces(path, sha256))

    def stored(self, path: str, sha256: str) -> StoredFile:
        """Return an object to be read in parts; its ETag tells whether it is the one that was compared."""
        try:
            found = self._repeated(lambda: obstore.head(self._store(), path))
        except FileNotFoundError:
            next(self._pieces(path, 0))  # says whether the bucket is missing: the answer to HEAD has no text
            raise
        if not self._compared.has(path, str(found["e_tag"]), sha256):
            for piece in self._compared_pieces(path, sha256):
                state = piece.state
            self._compared.note(path, state, sha256)
        return StoredFile(found["size"], sha256, partial(self._parts, path))

    def _parts(self, path: str, first: int, end: int) -> Iterator[bytes]:
        for piece in self._pieces(path, first, end):
            yield piece.content

    @contextmanager
    def local_copy(self, path: str, sha256: str) -> Iterator[Path]:
        """Yield a temporary file with the content of an object, compared with its SHA-256."""
        with tempfile.NamedTemporaryFile(prefix="fanin-") as file:
            for piece in self._compared_pieces(path, sha256):
                file.write(piece.content)
            file.flush()
            yield Path(file.name)

    def replace(self, path: str, content: bytes) -> None:
        """Write an object, over an older one if there is one."""
        store = self._store(len(content))
        self._repeated(lambda: obstore.put(store, path, content, use_multipart=False), LOG_LIMIT_S)

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
        if paths:
            with suppress(FileNotFoundError):  # some providers say so
                self._repeated(lambda: obstore.delete(self._store(), paths))

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
        """Ask for an object that is not there, and once a minute write a small one, unless only reading is allowed."""
        # Without the right to list, S3 answers 403 for what is not there: a lost checkpoint would look like a refusal.
        with suppress(FileNotFoundError):
            self._repeated(lambda: obstore.get(self._store(), ABSENT))
        if time.monotonic() - self._written_at < WRITTEN_EVERY_S:
            return Condition(is_writable=True, free_bytes=None)
        is_writable = self._repeated(self._may_write)
        if is_writable:
            self._written_at = time.monotonic()
        return Condition(is_writable=is_writable, free_bytes=None)

    def _may_write(self) -> bool:
        try:
            obstore.put(self._store(), PROBE, b"1", use_multipart=False)
        except PermissionDeniedError:
            return False
        return True
