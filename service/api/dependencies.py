"""FastAPI dependencies of the routes: the application's services, and the parameters that several routes share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Query, Request
from sqlalchemy import Engine

from models.init import SCHEMES
from service.api.event_hub import EventHub
from service.api.preview_process import Previews
from service.api.readiness import ReadinessChecks
from service.artifacts.store import Artifacts
from service.errors import NotFound
from service.http.json_body import EXPERIMENT_BYTES, SPEC_BYTES, json_object_within
from service.http.measures import SharedMeasures
from service.http.problems import Problem
from service.inference.batching import MicroBatcher
from service.queue.submission import Queue
from service.store.descriptions import MAX_LABELS, LabelFilter, LabelText
from service.store.job_lists import JobFilter
from service.store.jobs import JobState

MAX_PAGE = 100
MAX_OF_JOB = 1000


@dataclass(frozen=True)
class Services:
    """The services that the routes use; `service.app` creates them at startup."""

    engine: Engine
    queue: Queue
    answering: MicroBatcher
    hub: EventHub
    artifacts: Artifacts
    previews: Previews
    readiness: ReadinessChecks
    data_dir: Path
    worker_ttl_s: float
    measures: SharedMeasures


def _parts(request: Request) -> Services:
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(_parts)]

After = Annotated[
    str | None,
    Query(description="Cursor: the last id of the previous page.", pattern=r"^[A-Za-z0-9_.@-]{1,100}$"),
]


def _limit_within(most: int, default: int) -> Any:
    """Return the dependency that reads a page size of at most `most`."""
    # In the default: the annotations of a closure are texts, which FastAPI could not evaluate.
    asked = Query(default, ge=1, description=f"Page size; values above {most} mean {most}.")

    def coerced(limit: int = asked) -> int:
        return min(limit, most)

    return Depends(coerced)


Limit = Annotated[int, _limit_within(MAX_PAGE, 20)]
LimitOfJob = Annotated[int, _limit_within(MAX_OF_JOB, MAX_OF_JOB)]
LimitOfLarge = Annotated[int, _limit_within(MAX_PAGE, MAX_PAGE)]
AfterNumber = Annotated[
    int | None, Query(ge=0, le=2**31 - 1, description="Cursor: the number of the last item of the previous page.")
]


States = Annotated[list[JobState] | None, Query(description="Only jobs in this state; may be repeated.")]
SchemeName = Annotated[str | None, Query(description="Only jobs with this initialization scheme.")]
LabelTexts = Annotated[
    list[LabelText] | None,
    Query(
        description="Only those with this label: `key:value`, or `key` for any value. May be repeated; all must hold.",
        max_length=MAX_LABELS,
    ),
]


def job_filter(state: list[JobState] | None, scheme: str | None, label: list[str] | None) -> JobFilter:
    """Return the filter that a request names. Raises `NotFound` for an unknown scheme."""
    if scheme is not None and scheme not in SCHEMES:
        raise NotFound(f"There is no scheme {scheme!r}.", "GET /init-schemes lists the schemes.")
    return JobFilter(state or (), scheme, label_filters(label))


def label_filters(label: list[str] | None) -> list[LabelFilter]:
    """Return the labels that a request names."""
    return [LabelFilter.of(text) for text in label or ()]


SpecObject = Annotated[dict[str, Any], Depends(json_object_within(SPEC_BYTES))]
ExperimentObject = Annotated[dict[str, Any], Depends(json_object_within(EXPERIMENT_BYTES))]


IdempotencyKey = Annotated[
    str | None,
    Header(
        description="A repeated request with the same key is not executed again for a day: it gets the first response.",
        pattern=r"^[ -~]{1,257}$",
    ),
]


def unquoted(key: str) -> str:
    """Return a key without the quotes of a structured-field string (RFC 8941), which only some clients send."""
    key = key.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        return re.sub(r"\\(.)", r"\1", key[1:-1])
    return key


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of an operation that can fail with these statuses.

    Adds 401 and 500 to all of them, and 422 where 404 is listed.
    """
    reads_parameters = {422} if 404 in statuses else set()
    content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    every = sorted({*statuses, *reads_parameters, 401, 500})
    return {status: {"content": content, "description": _DESCRIPTIONS[status]} for status in every}


_DESCRIPTIONS = {
    400: "The body does not match its media type.",
    401: "The API key is missing or wrong; only if the service has a key.",
    404: "The resource does not exist.",
    409: "The job's state or an alias does not allow this operation.",
    412: "The If-Match or If-None-Match precondition failed.",
    413: "The body is too large.",
    415: "This operation does not read the media type of the body.",
    422: "The request is not valid; `detail` gives the cause and a hint.",
    500: "Internal error; see the log of the service.",
    503: "A resource that this operation needs is temporarily unavailable.",
}
