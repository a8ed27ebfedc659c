"""What can go wrong in `service`, and the one table from errors to HTTP.

FaninError (models.errors)
`-- ServiceError
    |-- WrongSettings           a setting has a value that cannot work
    |-- NotFound                no such thing: job, model, evaluation, data set, digit
    |-- IllegalTransition       the job's state does not allow what was asked
    |-- InvalidAlias            a name that no alias can have
    |-- ModelInUse              the model has an alias, so that it cannot be deleted
    |-- PreconditionFailed      what If-Match or If-None-Match asks for is not so
    |-- MalformedBody           the body is not what its media type says
    |-- UnsupportedMediaType    the body is of a kind that this operation does not read
    |-- BodyTooLarge            the body is larger than FANIN_MAX_BODY_BYTES
    |-- NotAuthenticated        the API key is missing or wrong
    |-- KeyReused               an Idempotency-Key was used for another request
    |-- Unavailable             something that should be here is not, for now
    |   |-- QueueFull           as many jobs are queued as may be
    |   `-- DatabaseNotReady    the database has not been migrated
    `-- Fenced                  a newer attempt has taken over this run; nothing was committed
"""

from __future__ import annotations

from http import HTTPStatus

from models import errors as model_errors
from models.errors import FaninError


class ServiceError(FaninError):
    """Base of the errors of the service."""


class WrongSettings(ServiceError):
    """A setting has a value that cannot work."""


class NotFound(ServiceError):
    """There is no such thing."""


class IllegalTransition(ServiceError):
    """The job's state does not allow what was asked."""


class InvalidAlias(ServiceError):
    """A name that no alias can have."""


class ModelInUse(ServiceError):
    """The model has an alias, so that it cannot be deleted."""


class PreconditionFailed(ServiceError):
    """What If-Match or If-None-Match asks for is not so."""


class MalformedBody(ServiceError):
    """The body is not what its media type says."""


class UnsupportedMediaType(ServiceError):
    """The body is of a kind that this operation does not read."""


class BodyTooLarge(ServiceError):
    """The body is larger than the limit."""


class NotAuthenticated(ServiceError):
    """The API key is missing or wrong."""


class KeyReused(ServiceError):
    """An Idempotency-Key was used for another request."""


class Unavailable(ServiceError):
    """Something that should be here is not, for now."""


class QueueFull(Unavailable):
    """As many jobs are queued as may be."""


class DatabaseNotReady(Unavailable):
    """The database has not been migrated."""


class Fenced(ServiceError):
    """A newer attempt has taken over this run; nothing was committed."""


STATUS_OF: dict[type[FaninError], HTTPStatus] = {
    FaninError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ServiceError: HTTPStatus.INTERNAL_SERVER_ERROR,
    WrongSettings: HTTPStatus.INTERNAL_SERVER_ERROR,
    NotFound: HTTPStatus.NOT_FOUND,
    IllegalTransition: HTTPStatus.CONFLICT,
    InvalidAlias: HTTPStatus.UNPROCESSABLE_ENTITY,
    ModelInUse: HTTPStatus.CONFLICT,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    MalformedBody: HTTPStatus.BAD_REQUEST,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    QueueFull: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseNotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    Fenced: HTTPStatus.CONFLICT,
    model_errors.InvalidSpec: HTTPStatus.UNPROCESSABLE_ENTITY,
    model_errors.InvalidImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    model_errors.DataMissing: HTTPStatus.SERVICE_UNAVAILABLE,
    model_errors.DataDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
    model_errors.CheckpointDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
    model_errors.LossNotFinite: HTTPStatus.UNPROCESSABLE_ENTITY,
    model_errors.OutputNotFinite: HTTPStatus.UNPROCESSABLE_ENTITY,
    model_errors.Interrupted: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The HTTP status of every error; a test proves that none is missing."""


def error_name(error: FaninError | type[FaninError]) -> str:
    """Return the kebab-case name of an error, as it stands in a problem's `type`."""
    name = (error if isinstance(error, type) else type(error)).__name__
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
