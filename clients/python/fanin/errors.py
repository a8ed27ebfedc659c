"""What can go wrong: the service cannot be reached, it takes too long, or it answers with an error.

FaninError
|-- ConnectionFailed            the service cannot be reached, or a connection broke
|-- WaitTimeout                 a job or an experiment has not ended in time
|-- DownloadDamaged             the bytes of a download are not those that the service announced
|-- BadAnswer                   something answered that is not Fanin
|-- ApiError                    the service answered with an error; `of_status` has the class of each status
    |-- Moved                   300 to 399
    |-- MalformedRequest        400
    |-- NotAuthenticated        401
    |-- NotAllowed              403
    |-- NotFound                404
    |-- MethodNotAllowed        405
    |-- Conflict                409
    |-- PreconditionFailed      412
    |-- TooLarge                413
    |-- UnsupportedMediaType    415
    |-- InvalidRequest          422
    |-- TooManyRequests         429
    |-- ServiceFailed           500 and above
        |-- Unavailable         503
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class FaninError(Exception):
    """Base of all errors of this package."""


class ConnectionFailed(FaninError, ConnectionError):
    """The service cannot be reached, or the connection broke too often."""


class WaitTimeout(FaninError, TimeoutError):
    """What was waited for has not ended in time. It goes on; wait for it again."""


class DownloadDamaged(FaninError):
    """The bytes of a download do not have the SHA-256 that the service announced."""


class BadAnswer(FaninError):
    """Something answered that is not Fanin: a page of a proxy, or another service."""


class WrongField(NamedTuple):
    """One wrong field of a request."""

    pointer: str
    """JSON pointer into the body (`#/init/gain`), or `?name` for a parameter."""

    detail: str


class ApiError(FaninError):
    """The service answered with an error: a problem document (RFC 9457)."""

    status: int
    type: str
    """URN of the kind of problem, such as `urn:fanin:problem:not-found`."""
    title: str
    detail: str
    """The cause, and what to do about it."""
    hint: str
    errors: list[WrongField]
    """The wrong fields of the request, if there are any."""
    headers: Mapping[str, str]

    def __init__(self, status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self.status = status
        self.type = str(problem.get("type", "about:blank"))
        self.title = str(problem.get("title", ""))
        self.detail = str(problem.get("detail") or problem.get("error") or f"The service answered {status}.")
        self.hint = str(problem.get("hint", ""))
        fields = problem.get("errors")
        self.errors = [
            WrongField(str(one.get("pointer", "")), str(one.get("detail", "")))
            for one in (fields if isinstance(fields, list) else [])
            if isinstance(one, Mapping)
        ]
        self.headers = headers
        self._problem = dict(problem)
        super().__init__(self.detail)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self._problem, dict(self.headers))

    @property
    def kind(self) -> str:
        """Return the name of the kind of problem, such as `not-found`."""
        return self.type.rsplit(":", 1)[-1]


class Moved(ApiError):
    """A redirection: the service is at another address."""


class MalformedRequest(ApiError):
    """400: the body is not what its media type says."""


class NotAuthenticated(ApiError):
    """401: the service has a key; set FANIN_API_KEY."""


class NotAllowed(ApiError):
    """403: the service does not serve this host or this page without a key."""


class NotFound(ApiError):
    """404: there is no such job, model or other thing."""


class MethodNotAllowed(ApiError):
    """405: the path has no such method."""


class Conflict(ApiError):
    """409: the state of a job, or an alias, does not allow this."""


class PreconditionFailed(ApiError):
    """412: somebody else has changed it in the meantime."""


class TooLarge(ApiError):
    """413: the body is larger than the service reads."""


class UnsupportedMediaType(ApiError):
    """415: the operation does not read this kind of body."""


class InvalidRequest(ApiError):
    """422: the request, its spec or its image cannot be used; `errors` names the fields."""


class TooManyRequests(ApiError):
    """429: something before the service limits requests."""


class ServiceFailed(ApiError):
    """500 and above: the service failed; its log says why."""


class Unavailable(ServiceFailed):
    """503: something that the service needs is temporarily unavailable."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: MalformedRequest,
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: InvalidRequest,
    429: TooManyRequests,
    503: Unavailable,
}


def of_status(status: int) -> type[ApiError]:
    """Return the class of a status."""
    if 300 <= status < 400:
        return Moved
    return _BY_STATUS.get(status, ServiceFailed if status >= 500 else ApiError)
