"""Aliases: movable names of models, such as `champion`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.api.dependencies import After, Limit, ServicesDep, SpecObject, problem_responses
from service.api.pagination import page
from service.api.preconditions import IfMatch, set_etag, versions_in
from service.api.schemas.models import Alias, alias_view
from service.http.answers import Page
from service.http.problems import invalid_body
from service.store.aliases import delete_alias, get_alias, list_aliases, set_alias
from service.store.checkpoints import ALIAS_PATTERN

router = APIRouter(prefix="/aliases", tags=["models"])

Name = Annotated[
    str,
    Path(
        pattern=rf"^{ALIAS_PATTERN}$",
        description="Up to 63 lower-case letters, digits and dashes, a letter first; not latest.",
    ),
]
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", pattern=r"^\*$", description="*: only if the alias is new; else 412.")
]


class DeletedAlias(BaseModel):
    """Confirmation that an alias was deleted."""

    name: str
    object: Literal["alias"] = "alias"
    deleted: Literal[True] = True


class AliasBody(BaseModel):
    """The model to which an alias is moved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(max_length=100, description="latest, a job's id, JOB@EPOCH or another alias, resolved now.")


@router.get("", summary="List aliases", responses=problem_responses(422))
def get_aliases(
    services: ServicesDep, request: Request, response: Response, after: After = None, limit: Limit = 20
) -> Page[Alias]:
    """List aliases, sorted by name."""
    views = [alias_view(row) for row in list_aliases(services.engine, after=after, limit=limit + 1)]
    return page(request, response, views, limit, views[:limit][-1].name if views else None)


@router.get("/{name}", summary="Get an alias", responses=problem_responses(404))
def get_one_alias(services: ServicesDep, name: Name, response: Response) -> Alias:
    """Get an alias; its ETag is its version."""
    return _with_etag(alias_view(get_alias(services.engine, name)), response)


@router.put(
    "/{name}",
    summary="Create or move an alias",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AliasBody"}}},
        }
    },
    responses=problem_responses(400, 404, 412, 413, 415, 422),
)
async def put_alias(
    services: ServicesDep,
    name: Name,
    body: SpecObject,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Alias:
    """Point an alias at the checkpoint that the model name in the body resolves to now.

    With If-Match the alias moves only if its version still matches; otherwise the response is 412. An alias protects
    its checkpoint: FANIN_KEEP_CHECKPOINTS does not remove it, and its job cannot be deleted.
    """
    try:
        model = AliasBody.model_validate(body).model
    except ValidationError as error:
        raise invalid_body(error, body) from None
    put = partial(set_alias, services.engine, name, model, versions_in(if_match), only_new=if_none_match is not None)
    row = await run_in_threadpool(put)
    return _with_etag(alias_view(row), response)


@router.delete("/{name}", summary="Delete an alias", responses=problem_responses(404, 412, 422))
def delete_one_alias(services: ServicesDep, name: Name, if_match: IfMatch = None) -> DeletedAlias:
    """Delete an alias; its model stays."""
    delete_alias(services.engine, name, versions_in(if_match))
    return DeletedAlias(name=name)


def _with_etag(alias: Alias, response: Response) -> Alias:
    set_etag(response, alias.version)
    return alias
