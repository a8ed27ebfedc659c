"""Edits that keep lists in order: names, notes, labels and priorities; deletions by a filter."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service.api.dependencies import (
    LabelTexts,
    SchemeName,
    ServicesDep,
    SpecObject,
    States,
    job_filter,
    problem_responses,
)
from service.api.experiment_views import experiment_view
from service.api.job_files import delete_files
from service.api.job_views import job_view
from service.api.preconditions import IfMatch, set_etag, versions_in
from service.api.schemas.edits import DeletedJobs, Edit, KeptJobView
from service.api.schemas.experiments import Experiment
from service.api.schemas.jobs import Job
from service.http.problems import invalid_body
from service.store.bulk_deletion import delete_jobs

router = APIRouter()

_EDIT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Edit"},
                "examples": {
                    "labels": {
                        "summary": "Name a job, set one label and remove another",
                        "value": {"name": "He, first try", "labels": {"course": "a", "draft": None}},
                    },
                    "priority": {"summary": "Move a queued job to the front", "value": {"priority": "high"}},
                },
            }
        },
    }
}
BODY_MODELS = (Edit,)
"""Models of request bodies; the application adds their schemas to the OpenAPI document."""


@router.patch(
    "/jobs/{job_id}",
    tags=["jobs"],
    summary="Edit a job",
    openapi_extra=_EDIT_BODY,
    responses=problem_responses(400, 404, 409, 412, 413, 415, 422),
)
async def edit_job(
    services: ServicesDep, job_id: str, body: SpecObject, response: Response, if_match: IfMatch = None
) -> Job:
    """Change the name, the note, labels, or, while it waits, the priority of a job. Its ETag is its `version`.

    Fields that are absent stay as they are; null removes a name, a note or a label. A job waits if it is queued or
    paused.
    """
    edit = _edit_in(body)
    row = await run_in_threadpool(services.queue.edit_job, job_id, edit, edit.priority, versions_in(if_match))
    set_etag(response, row.version)
    return await run_in_threadpool(job_view, services, row)


@router.patch(
    "/experiments/{experiment_id}",
    tags=["experiments"],
    summary="Edit an experiment",
    openapi_extra=_EDIT_BODY,
    responses=problem_responses(400, 404, 409, 412, 413, 415, 422),
)
async def edit_experiment(
    services: ServicesDep, experiment_id: str, body: SpecObject, response: Response, if_match: IfMatch = None
) -> Experiment:
    """Change the name, the note or labels of an experiment, or the priority of its queued and paused members.

    The members keep the labels that they were submitted with. The ETag is the experiment's `version`.
    """
    edit = _edit_in(body)
    change = services.queue.edit_experiment
    await run_in_threadpool(change, experiment_id, edit, edit.priority, versions_in(if_match))
    view = await run_in_threadpool(experiment_view, services, experiment_id)
    set_etag(response, view.version)
    return view


@router.delete("/jobs", tags=["jobs"], summary="Delete jobs by a filter", responses=problem_responses(404, 422))
def delete_many_jobs(
    services: ServicesDep,
    dry_run: Annotated[bool, Query(description="true: only say which jobs would be deleted. false: delete them.")],
    state: States = None,
    scheme: SchemeName = None,
    label: LabelTexts = None,
) -> DeletedJobs:
    """Delete the jobs of a filter as `DELETE /jobs/{job_id}` does, up to 1,000; those that it refuses are kept.

    `dry_run` must be there, and so must one of state, scheme and label.
    """
    if not (state or scheme or label):
        message = "name at least one of state, scheme and label; without a filter every job would be deleted"
        raise RequestValidationError([{"type": "value_error", "loc": ("query",), "msg": message, "input": None}])
    deletion = delete_jobs(services.engine, job_filter(state, scheme, label), dry_run=dry_run)
    if deletion.may_go and not dry_run:
        delete_files(services.artifacts, deletion.job_ids)
    kept = [KeptJobView(id=job.job_id, reason=job.reason) for job in deletion.kept]
    return DeletedJobs(dry_run=dry_run, jobs=deletion.job_ids, kept=kept, has_more=deletion.has_more)


def _edit_in(body: dict[str, Any]) -> Edit:
    try:
        return Edit.model_validate(body)
    except ValidationError as error:
        raise invalid_body(error, body) from None
