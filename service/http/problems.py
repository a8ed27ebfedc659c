"""All errors as RFC 9457 problem documents.

`detail` gives the cause and a hint. `error` repeats it for clients that read that key. A validation problem lists the
wrong fields under `errors`.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from models.errors import FaninError
from service.errors import STATUS_OF, error_name
from service.store.checkpoints import ALIAS_PATTERN
from service.store.descriptions import RULE_OF_PATTERN
from service.store.outages import FAILED, cause_of

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
MAX_WRONG_FIELDS = 20
MAX_TEXT = 1000
DEFAULT_HINT = "/docs describes the operation."
RULES = RULE_OF_PATTERN | {
    f"^{ALIAS_PATTERN}$": "an alias has up to 63 lower-case letters, digits and dashes, and begins with a letter"
}
"""What a pattern means, for the errors that users read."""
OBJECTS: dict[int | str, str] = {
    "architecture": '{"hidden": [256, 256], "activation": "relu"}',
    "init": '{"scheme": "he_normal"}',
    "bias": '{"scheme": "zeros"}',
    "optimizer": '{"name": "adam", "lr": 0.001}',
    "parameters": '{"top_k": 3}',
}
"""An example of each field that is an object."""
ELSEWHERE = {
    "priority": "there is no such field here; POST /jobs takes ?priority=high, and PATCH takes it in its body",
    "validate_only": "there is no such field; it is a parameter: POST /jobs?validate_only=true",
}
"""What to do about fields that are often sent in the wrong place."""


class WrongField(BaseModel):
    """One wrong field of a request."""

    pointer: str = Field(
        description="JSON pointer into the body (`#/init/gain`), `?name` for a query parameter, or `{name}` for a part "
        "of the path."
    )
    detail: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """An error as a problem document (RFC 9457)."""

    type: str = Field(description="URN of the kind of problem.", examples=["urn:fanin:problem:not-found"])
    title: str = Field(description="The phrase of the HTTP status.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(
        description="The cause and a hint.", examples=["There is no job 'x'. GET /jobs lists the jobs."]
    )
    instance: str = Field(description="Path of the request.", examples=["/jobs/x"])
    hint: str = Field(description="What to do.", examples=["GET /jobs lists the jobs."])
    error: str = Field(description="Same as `detail`.")
    errors: list[WrongField] | None = Field(None, description="The wrong fields, for validation problems; at most 20.")


class Cause(NamedTuple):
    """The name of a kind of problem, what is wrong, and what to do."""

    name: str
    detail: str
    hint: str = DEFAULT_HINT


def problem_response(
    path: str,
    status: int,
    cause: Cause,
    errors: list[WrongField] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem document as a response."""
    problem = Problem(
        type=f"urn:fanin:problem:{cause.name}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=cause.detail,
        instance=path,
        hint=cause.hint or DEFAULT_HINT,
        error=cause.detail,
        errors=errors,
    )
    all_headers = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        all_headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    if status == HTTPStatus.UNAUTHORIZED:
        all_headers.setdefault("WWW-Authenticate", "Bearer")
    if cause.name == "unsupported-encoding":
        all_headers.setdefault("Accept-Encoding", "gzip, deflate")  # RFC 9110, section 12.5.3
    return Response(problem.model_dump_json(exclude_none=True) + "\n", status, all_headers, MEDIA_TYPE)


def problem_of(path: str, error: FaninError) -> Response:
    """Return the problem document of an error of Fanin."""
    return problem_response(path, STATUS_OF[type(error)], Cause(error_name(error), str(error), error.hint))


def install(app: FastAPI) -> None:
    """Add the exception handler that turns errors of `app` into problem documents."""
    for kind in (FaninError, RequestValidationError, HTTPException, Exception, *FAILED):
        app.add_exception_handler(kind, _answer_error)
    app.add_exception_handler(ClientDisconnect, _note_hang_up)


def log_hang_up(scope: Scope) -> None:
    """Log that a client hung up before its request was complete."""
    log.info("the client of %s %s hung up before its request was complete", scope["method"], scope["path"])


async def _note_hang_up(request: Request, _error: Exception) -> Response:
    log_hang_up(request.scope)  # nobody reads the response
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _answer_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        path, allowed = request.scope["path"], ", ".join(_allowed_methods(request.app, request.scope["path"]))
        detail = f"{request.method} is not allowed at {path}; allowed: {allowed}."
        cause = Cause("method-not-allowed", detail, f"Use {allowed}.")
        return problem_response(path, error.status_code, cause, headers={"Allow": allowed})
    return problem_for(request.scope, error)


def problem_of_lost_database(path: str, error: Exception) -> Response:
    """Log a database error and return its problem document (503)."""
    log.error("the database failed at %s: %s", path, getattr(error, "orig", None) or error)
    return problem_of(path, cause_of(error))


def problem_of_validation(path: str, error: RequestValidationError) -> Response:
    """Return the problem document of a request with wrong fields (422)."""
    fields = error.errors()
    wrong = [
        WrongField(
            pointer=_shortened(_pointer(field["loc"], field["type"], error.body)),
            detail=_shortened(validation_message(field)),
        )
        for field in fields[:MAX_WRONG_FIELDS]
    ]
    detail = "; ".join(f"{field.pointer}: {field.detail}" for field in wrong[:5])
    more = f"; and {len(fields) - 5} more" if len(fields) > 5 else ""
    return problem_response(
        path,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        Cause(
            "invalid-request",
            f"The request is not valid: {detail}{more}.",
            "Correct what `errors` names; /docs describes the operation.",
        ),
        wrong,
    )


def problem_of_http_exception(path: str, error: HTTPException) -> Response:
    """Return the problem document of an HTTP error of the framework."""
    status = error.status_code
    if status == HTTPStatus.NOT_FOUND:
        detail, hint = f"There is nothing at {path}. /docs lists all operations.", "/docs lists all operations."
        return problem_response(path, status, Cause("no-such-path", detail, hint))
    name = "body-too-large" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else f"http-{status}"
    return problem_response(path, status, Cause(name, str(error.detail)), headers=dict(error.headers or {}))


def problem_for(scope: Scope, error: Exception) -> Response:
    """Return the problem document of any error that a request has raised; an unexpected one is logged."""
    path = scope["path"]
    if isinstance(error, FaninError):
        _log_refusal(scope, error)
        return problem_of(path, error)
    if isinstance(error, RequestValidationError):
        return problem_of_validation(path, error)
    if isinstance(error, HTTPException):
        return problem_of_http_exception(path, error)
    if isinstance(error, FAILED):
        return problem_of_lost_database(path, error)
    log.error("unexpected error at %s %s", scope["method"], path, exc_info=error)
    return problem_of_unknown(path)


def _log_refusal(scope: Scope, error: FaninError) -> None:
    """Log what an operator should know: a wrong key, a foreign page, and what fails on the side of the service."""
    status = STATUS_OF[type(error)]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        host, port = scope.get("client") or ("?", 0)
        log.warning("%d to %s:%d for %s %s: %s", status, host, port, scope["method"], scope["path"], error.detail)


def invalid_body(error: ValidationError, body: Any) -> RequestValidationError:
    """Return the validation error of a body in the form that FastAPI itself raises."""
    wrong = [{**field, "loc": ("body", *field["loc"])} for field in error.errors(include_url=False)]
    return RequestValidationError(wrong, body=body)


def problem_of_unknown(path: str) -> Response:
    """Return the problem document of an unexpected error (500); it reveals no details."""
    detail = "Internal error; the log of the service has the details."
    hint = "Try again; if it happens again, look for this path in the log."
    return problem_response(path, HTTPStatus.INTERNAL_SERVER_ERROR, Cause("internal", detail, hint))


def _allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that are allowed at `path`; GET implies HEAD."""
    methods: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path):
            methods |= {method.upper() for method in operations}
    methods = methods or {"GET"}  # the document leaves out only the page, its files and /docs
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


def _shortened(text: str) -> str:
    """Return a text without its middle if it repeats something very long of the request."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT // 2]}...{text[-MAX_TEXT // 2 :]}"


def _pointer(location: tuple[int | str, ...], kind: str, body: Any) -> str:
    """Return the pointer to a wrong field; names of union members in `location` are skipped."""
    where, *steps = location
    if where == "path":
        return f"{{{'.'.join(map(str, steps))}}}"
    if where != "body":
        return f"?{'.'.join(map(str, steps))}"
    way, current = [], body
    for index, step in enumerate(steps):
        is_key = isinstance(current, dict) and step in current
        is_index = isinstance(current, list | tuple) and isinstance(step, int) and step < len(current)
        if is_key or is_index:
            way.append(str(step))
            current = current[step]
        elif kind == "missing" and index == len(steps) - 1:
            way.append(str(step))
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in way)


def validation_message(error: dict[str, Any]) -> str:
    """Return in words what is wrong with a field, for an entry of Pydantic's errors."""
    context = error.get("ctx", {})
    if error["type"] == "union_tag_not_found":
        return f"{context['discriminator']} is missing; it selects the variant"
    if error["type"] == "union_tag_invalid":
        return f"{context['discriminator']} {context['tag']!r} is not one of {context['expected_tags']}"
    if error["type"] == "extra_forbidden":
        return ELSEWHERE.get(error["loc"][-1], "there is no such field")
    if error["type"] == "string_pattern_mismatch" and context["pattern"] in RULES:
        return RULES[context["pattern"]]
    if error["type"] in {"model_attributes_type", "model_type", "dict_type"}:
        field = next((step for step in reversed(error["loc"]) if step in OBJECTS), None)
        return "should be a JSON object in braces" + (f", such as {OBJECTS[field]}" if field else "")
    message: str = error["msg"]
    return message.removeprefix("Value error, ").replace("Input should be", "should be")
