"""Request bodies of POST /experiments, and the training specs that they expand to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from models.network.architecture import MAX_HIDDEN_LAYERS
from models.recipes import RECIPES
from models.spec import TrainSpec, resolve_spec
from models.vocabulary import DEFAULT_SEED, MAX_SEED, Real, Whole
from service.api.schemas.submissions import Submission
from service.errors import NotFound
from service.http.problems import invalid_body, validation_message
from service.store.descriptions import Description
from service.store.experiments import ExperimentRequest

MAX_MEMBERS = 1000
MAX_RATES = 32
AUTO_RATES = {"adam": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), "sgd": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)}
Seed = Annotated[Whole, Field(ge=0, le=MAX_SEED)]


class ExperimentBody(Submission):
    """A base spec, and a grid: one member for each combination of scheme, depth, variant and seed.

    The members get the labels.
    """

    base: dict[str, Any] = Field({}, description="As in POST /jobs: a preset with overrides, or fields of a TrainSpec.")
    schemes: list[str | dict[str, Any]] = Field(
        [],
        max_length=MAX_MEMBERS,
        description='Schemes, by name or with parameters: {"scheme": "xavier_uniform", "gain": 4}.',
    )
    depths: list[Annotated[Whole, Field(ge=1, le=MAX_HIDDEN_LAYERS)]] = Field(
        [],
        max_length=64,
        description="Numbers of hidden layers; all have the width of the base's first hidden layer.",
    )
    variants: list[dict[str, Any]] = Field(
        [], max_length=MAX_MEMBERS, description="Overrides of other fields, one object per variant."
    )
    rates: Literal["auto"] | Annotated[list[Annotated[Real, Field(gt=0, le=10)]], Field(max_length=MAX_RATES)] = Field(
        [],
        description="Learning rates that every combination is trained with, so that each is compared at its own best, "
        "chosen on validation images (base needs validation_images). auto: seven half decades about the optimizer's "
        "usual rate.",
    )
    seeds: list[Seed] = Field(
        [DEFAULT_SEED],
        min_length=1,
        max_length=MAX_MEMBERS,
        description="Every combination is trained per seed. No other field holds a seed.",
    )


class RecipeBody(Submission):
    """A published claim to test; the experiment ends with a verdict on it."""

    recipe: str = Field(description="Name of the recipe, such as R7; GET /recipes lists them.")
    seeds: list[Seed] | None = Field(
        None, min_length=1, max_length=MAX_MEMBERS, description="Seeds to use instead of the recipe's."
    )


def request_of(body: dict[str, Any]) -> ExperimentRequest:
    """Return what a body asks for: a recipe's members or those of a grid, and their description.

    The stored body is without the description, which may be edited. Raises `RequestValidationError`, which names the
    wrong fields, and `NotFound` for an unknown recipe.
    """
    request: RecipeBody | ExperimentBody
    recipe: str | None = None
    try:
        if "recipe" in body:
            request = RecipeBody.model_validate(body)
            recipe, specs = _of_recipe(request, body)
        else:
            request = ExperimentBody.model_validate(body)
            specs = _of_grid(request, body)
    except ValidationError as error:
        raise invalid_body(error, body) from None
    kept = {name: value for name, value in body.items() if name not in Description.model_fields}
    return ExperimentRequest(specs, recipe, kept, request.described, request.device)


def _of_recipe(request: RecipeBody, body: dict[str, Any]) -> tuple[str, list[TrainSpec]]:
    recipe = RECIPES.get(request.recipe)
    if recipe is None:
        raise NotFound(f"There is no recipe {request.recipe!r}.", f"There are: {', '.join(RECIPES)}.")
    seeds = list(dict.fromkeys(request.seeds or recipe.seeds))
    if len(seeds) < recipe.least_seeds:
        raise _refused(("seeds",), f"{recipe.name} judges a spread; give at least {recipe.least_seeds} seeds", body)
    members = recipe.members(seeds)
    if len(members) > MAX_MEMBERS:
        raise _too_many(body)
    return recipe.name, members


def _of_grid(request: ExperimentBody, body: dict[str, Any]) -> list[TrainSpec]:
    places: list[tuple[tuple[str | int, ...], dict[str, Any]]] = [(("base",), request.base)]
    places += [(("variants", number), variant) for number, variant in enumerate(request.variants)]
    for place, spec_fields in places:
        if "seed" in spec_fields:
            raise _refused(place, 'put the seed into "seeds"; it applies to all members', body)
    schemes = [{"init": {"scheme": entry} if isinstance(entry, str) else entry} for entry in request.schemes] or [{}]
    depths: list[int | None] = [*request.depths] or [None]
    specs: list[TrainSpec] = []
    for (index, scheme), depth, (number, variant), seed in product(
        enumerate(schemes), depths, enumerate(request.variants or [{}]), dict.fromkeys(request.seeds)
    ):
        if len(specs) > MAX_MEMBERS:
            raise _too_many(body)
        fields = request.base | scheme | variant | {"seed": seed}
        try:
            spec = resolve_spec(fields)
            spec = spec if depth is None else resolve_spec(_of_depth(spec, depth))
            specs += _at_rates(spec, request.rates)
        except ValidationError as error:
            where = ("schemes", index) if request.schemes else ("variants", number) if request.variants else ("base",)
            raise _refused(where, "; ".join(_message_of(entry) for entry in error.errors()), body) from None
    _check_members(specs, request, body)
    return specs


def _check_members(specs: Sequence[TrainSpec], request: ExperimentBody, body: dict[str, Any]) -> None:
    if len(specs) > MAX_MEMBERS:
        raise _too_many(body)
    if request.rates and any(spec.validation_images == 0 or spec.epochs == 0 for spec in specs):
        message = (
            'the best rate of each scheme is chosen on validation images after training; set "validation_images" in '
            '"base", and at least one epoch'
        )
        raise _refused(("rates",), message, body)
    if len({spec.model_dump_json() for spec in specs}) < len(specs):
        raise _refused(("schemes",), "two members are the same and would be equal bit for bit; remove one", body)


def _at_rates(spec: TrainSpec, rates: Literal["auto"] | Sequence[float]) -> list[TrainSpec]:
    if not rates:
        return [spec]
    tried = AUTO_RATES[spec.optimizer.name] if rates == "auto" else dict.fromkeys(map(float, rates))
    return [spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"lr": rate})}) for rate in tried]


def _of_depth(spec: TrainSpec, depth: int) -> dict[str, Any]:
    fields = spec.model_dump(mode="json")
    fields["architecture"]["hidden"] = [spec.architecture.hidden[0]] * depth
    return fields


def _message_of(error: Any) -> str:
    where = ".".join(str(step) for step in error["loc"])
    message = validation_message(error)
    return f"{where}: {message}" if where else message


def _too_many(body: dict[str, Any]) -> Exception:
    return _refused(("seeds",), f"the experiment has more than {MAX_MEMBERS} members; remove some", body)


def _refused(where: tuple[str | int, ...], message: str, body: dict[str, Any]) -> Exception:
    line = {"type": "value_error", "loc": where, "input": None, "ctx": {"error": ValueError(message)}}
    return invalid_body(ValidationError.from_exception_data("ExperimentBody", [line]), body)  # type: ignore[list-item]
