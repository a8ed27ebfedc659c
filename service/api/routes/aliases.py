"""Aliases: names of models that are moved on purpose, such as `champion`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.dependencies import After, Limit, ServicesDep, problem_responses
from service.api.pagination import page
from service.api.schemas.models import Alias, alias_view
from service.http.answers import Page
from service.store.aliases import delete_alias, get_alias, list_aliases, set_alias
from service.store.checkpoints import ALIAS_PATTERN

router = APIRouter(prefix="/aliases", tags=["models"])

Name = Annotated[
    str,
    Path(
        pattern=rf"^{ALIAS_PATTERN}$",
        description="Lower-case letters, digits and dashes, up to 63; not latest.",
    ),
]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="Do it only if the alias has this ETag (*: if it is there).")
]
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", pattern=r"^\*$", description="*: do it only if the alias is not there.")
]


class DeletedAlias(BaseModel):
    """An alias that is gone."""

    name: str
    object: Literal["alias"] = "alias"
    deleted: Literal[True] = True


class AliasBody(BaseModel):
    """Which model an alias is to mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(max_length=100, description="latest, a job's id, JOB@EPOCH or another alias, as it is now.")


@router.get("", summary="List aliases", responses=problem_responses(422))
def get_aliases(
    services: ServicesDep, request: Request, response: Response, after: After = None, limit: Limit = 20
) -> Page[Alias]:
    """List aliases by name."""
    views = [alias_view(row) for row in list_aliases(services.engine, after=after, limit=limit + 1)]
    return page(request, response, views, limit, views[:limit][-1].name if views else None)


@router.get("/{name}", summary="Look at an alias", responses=problem_responses(404))
def get_one_alias(services: ServicesDep, name: Name, response: Response) -> Alias:
    """Look at an alias; the ETag is its version."""
    return _with_etag(alias_view(get_alias(services.engine, name)), response)


@router.put("/{name}", summary="Let an alias mean a model", responses=problem_responses(404, 412, 422))
def put_alias(
    services: ServicesDep,
    name: Name,
    body: AliasBody,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Alias:
    """Let an alias mean exactly the checkpoint that a name means now.

    With If-Match nothing happens if somebody else has moved it meanwhile: 412. What an alias means is kept, whatever
    FANIN_KEEP_CHECKPOINTS says, and its job cannot be deleted.
    """
    row = set_alias(services.engine, name, body.model, _version(if_match), only_new=if_none_match is not None)
    return _with_etag(alias_view(row), response)


@router.delete("/{name}", summary="Delete an alias", responses=problem_responses(404, 412, 422))
def delete_one_alias(services: ServicesDep, name: Name, if_match: IfMatch = None) -> DeletedAlias:
    """Delete an alias; the model it meant stays."""
    delete_alias(services.engine, name, _version(if_match))
    return DeletedAlias(name=name)


def _version(etag: str | None) -> str | None:
    return None if etag is None else etag.strip().removeprefix("W/").strip('"')


def _with_etag(alias: Alias, response: Response) -> Alias:
    response.headers["ETag"] = f'"{alias.version}"'
    return alias
