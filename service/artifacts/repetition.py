"""Repeat requests to object storage while they fail, and give up together.

obstore does not repeat here: it would not repeat a conditional PUT, and every other request would have two limits.
"""

from __future__ import annotations

import logging
import math
import random
import re
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from models.errors import CheckpointDamaged
from service.errors import Unavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
AWAY_S = 2.0
"""For how long after a failure no request is sent by those that wait only briefly."""
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w+)</Code>")
SIGNATURE = re.compile(r"\?\w[^\s<>]*")
WORTH_REPEATING = {408, 409, 429}


class CutAnswer(Exception):
    """An answer ended before its last byte, or contradicts another one."""


FAILED = (BaseError, CutAnswer, OSError)
"""What obstore raises if a request fails; time-outs of its streams are an OSError."""


class Repetition:
    """Repeats requests for `limit_s` seconds; with a finite limit, a storage that is away is asked by one at a time.

    While it is away, all other requests fail at once: each would otherwise occupy a thread for the whole limit.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lock = Lock()
        self._waiting = 0
        self._is_away = False
        self._asked_again_at = 0.0

    @property
    def is_waiting(self) -> bool:
        """Return whether a request has failed and is repeated."""
        return self._waiting > 0

    def __call__(self, call: Callable[[], Result], limit_s: float = math.inf) -> Result:
        """Return what `call` returns. Raises `FileNotFoundError`, `FileExistsError`, and `Unavailable`.

        Refused credentials and a missing bucket are not waited for.
        """
        limit_s = min(limit_s, self._limit_s)
        self._turn_away()
        until, pause_s, has_waited = time.monotonic() + limit_s, FIRST_PAUSE_S, False
        try:
            while True:
                try:
                    result = call()
                except (FileExistsError, CheckpointDamaged):
                    self._is_away = False
                    raise
                except FileNotFoundError as error:
                    self._is_away = False
                    raise _of_absence(error) from None
                except FAILED as error:
                    _raise_if_refused(error)
                    if time.monotonic() + pause_s > until:
                        self._note_away()
                        raise _away() from None
                    log.warning("the object storage failed, trying again in %.1f s: %s", pause_s, text_of(error))
                    with self._lock:
                        self._waiting += not has_waited
                    has_waited = True
                    time.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311 - spreads those of many processes
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                else:
                    self._is_away = False
                    return result
        finally:
            with self._lock:
                self._waiting -= has_waited

    def _turn_away(self) -> None:
        """Raise `Unavailable` while the storage is away, except to one caller after each pause."""
        with self._lock:
            if not self._is_away or math.isinf(self._limit_s):
                return
            if time.monotonic() < self._asked_again_at:
                raise _away()
            self._asked_again_at = time.monotonic() + self._limit_s + AWAY_S

    def _note_away(self) -> None:
        with self._lock:
            self._is_away, self._asked_again_at = True, time.monotonic() + AWAY_S


def _away() -> Unavailable:
    return Unavailable("The object storage does not answer.", "Try again soon.")


def _of_absence(error: FileNotFoundError) -> Exception:
    if any(mark in str(error) for mark in NO_BUCKET):
        return Unavailable("The bucket of the checkpoints does not exist.", "Make it.")
    return error


def _raise_if_refused(error: Exception) -> None:
    status = STATUS.search(str(error))
    number = int(status[1]) if status else 0
    is_refused = 300 <= number < 500 and number not in WORTH_REPEATING
    if is_refused or isinstance(error, PermissionDeniedError | UnauthenticatedError):
        log.warning("the object storage refuses: %s", text_of(error))
        raise Unavailable(
            "The object storage refuses this service.", "Check its address, credentials, rights, and the clock."
        ) from None


def text_of(error: Exception) -> str:
    """Return the first line of an error and the storage's code, without the signatures that an address may have."""
    first, code = str(error).partition("\n")[0], CODE.search(str(error))
    return SIGNATURE.sub("?...", first or type(error).__name__) + (f" ({code[1]})" if code else "")
