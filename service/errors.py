"""The errors of `service`, and the HTTP status of every error.

FaninError (models.errors)
`-- ServiceError
    |-- WrongSettings           a setting has an invalid value
    |-- NameTaken               another living worker has the name of this one
    |-- NotFound                a job, model, evaluation, data set or digit does not exist
    |-- IllegalTransition       the job's state does not allow the action
    |-- InvalidAlias            the name is not valid for an alias
    |-- InvalidLabels           there would be too many labels
    |-- InvalidCursor           the cursor of a list is not one of its order
    |-- NoFinerRates            the learning rates of the experiment cannot be refined further
    |-- JobTooLarge             the job would cost more than the service accepts
    |-- ModelInUse              the model has an alias and cannot be deleted
    |-- PreconditionFailed      the If-Match or If-None-Match precondition failed
    |-- MalformedBody           the body does not match its media type
    |-- UnsupportedMediaType    the operation does not read this media type
    |   `-- UnsupportedEncoding the body is compressed in a way that is not read
    |-- BodyTooLarge            the body is larger than FANIN_MAX_BODY_BYTES
    |-- NotAuthenticated        the API key is missing or wrong
    |-- HostNotAllowed          the request names a host that this service does not serve without a key
    |-- OriginNotAllowed        a page of another site sent the request
    |-- KeyReused               an Idempotency-Key was used for another request
    |-- Unavailable             a resource is temporarily unavailable
    |   |-- QueueFull           the queue has its maximum number of jobs
    |   `-- DatabaseNotReady    the database is not migrated
    |       `-- DatabaseTooNew  a newer Fanin has migrated the database
    `-- Fenced                  a newer attempt has taken over this run; nothing was committed
"""

from __future__ import annotations

from http import HTTPStatus

from models import errors as model_errors
from models.errors import FaninError


class ServiceError(FaninError):
    """Base of the errors of the service."""


class WrongSettings(ServiceError):
    """A setting has an invalid value."""


class NameTaken(ServiceError):
    """Another living worker has the name of this one."""


class NotFound(ServiceError):
    """The resource does not exist."""


class IllegalTransition(ServiceError):
    """The job's state does not allow the action."""


class InvalidAlias(ServiceError):
    """The name is not valid for an alias."""


class InvalidLabels(ServiceError):
    """There would be too many labels."""


class InvalidCursor(ServiceError):
    """The cursor of a list is not one of its order."""


class NoFinerRates(ServiceError):
    """The learning rates of the experiment cannot be refined further."""


class JobTooLarge(ServiceError):
    """The job would cost more than the service accepts."""


class ModelInUse(ServiceError):
    """The model has an alias and cannot be deleted."""


class PreconditionFailed(ServiceError):
    """The If-Match or If-None-Match precondition failed."""


class MalformedBody(ServiceError):
    """The body does not match its media type."""


class UnsupportedMediaType(ServiceError):
    """The operation does not read this media type."""


class UnsupportedEncoding(UnsupportedMediaType):
    """The body has a Content-Encoding that is not read."""


class BodyTooLarge(ServiceError):
    """The body is larger than the limit."""


class NotAuthenticated(ServiceError):
    """The API key is missing or wrong."""


class HostNotAllowed(ServiceError):
    """The request names a host that this service does not serve without a key."""


class OriginNotAllowed(ServiceError):
    """A page of another site sent the request."""


class KeyReused(ServiceError):
    """An Idempotency-Key was used for another request."""


class Unavailable(ServiceError):
    """A resource is temporarily unavailable."""


class QueueFull(Unavailable):
    """The queue has its maximum number of jobs."""


class DatabaseNotReady(Unavailable):
    """The database is not migrated."""


class DatabaseTooNew(DatabaseNotReady):
    """A newer Fanin has migrated the database."""


class Fenced(ServiceError):
    """A newer attempt has taken over this run; nothing was committed."""


FOR_A_PERSON = (WrongSettings, NameTaken, DatabaseTooNew)
"""The errors that only a person can remedy; a process that retries would raise them for ever."""

STATUS_OF: dict[type[FaninError], HTTPStatus] = {
    FaninError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ServiceError: HTTPStatus.INTERNAL_SERVER_ERROR,
    WrongSettings: HTTPStatus.INTERNAL_SERVER_ERROR,
    NameTaken: HTTPStatus.INTERNAL_SERVER_ERROR,
    NotFound: HTTPStatus.NOT_FOUND,
    IllegalTransition: HTTPStatus.CONFLICT,
    InvalidAlias: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidLabels: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidCursor: HTTPStatus.UNPROCESSABLE_ENTITY,
    NoFinerRates: HTTPStatus.UNPROCESSABLE_ENTITY,
    JobTooLarge: HTTPStatus.UNPROCESSABLE_ENTITY,
    ModelInUse: HTTPStatus.CONFLICT,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    MalformedBody: HTTPStatus.BAD_REQUEST,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    UnsupportedEncoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    HostNotAllowed: HTTPStatus.FORBIDDEN,
    OriginNotAllowed: HTTPStatus.FORBIDDEN,
    KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    QueueFull: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseNotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseTooNew: HTTPStatus.SERVICE_UNAVAILABLE,
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
"""The HTTP status of every error."""


def error_name(error: FaninError | type[FaninError]) -> str:
    """Return the kebab-case name of an error, as in the `type` of a problem document."""
    name = (error if isinstance(error, type) else type(error)).__name__
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
