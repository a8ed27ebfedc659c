"""Response models of experiments from their rows: names, members, verdicts, and the comparison as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine

from models.evaluation.comparison import Comparison, compare
from models.evaluation.rates import at_best_rates
from models.evaluation.spec_labels import differing_fields, flattened, short_names
from models.recipes import RECIPES
from models.spec import TrainSpec
from models.vocabulary import DEFAULT_SEED
from service.api.dependencies import (
    Services,
)
from service.api.schemas.experiments import Experiment, ExperimentLinks, Member, Verdict
from service.store.experiments import (
    ExperimentRow,
    MemberRow,
    compared_members,
    find_experiment,
    list_members,
    members_of,
    outcomes_of,
)
from service.store.jobs import ENDED, JobState

MAX_NAMED = 4
USUAL_SCHEME = TrainSpec().init.scheme  # of both presets too
NOT_ENDED = "Not all members have ended."
OTHER_RECIPE = "The recipe has changed since: it trains other members now, and its bounds are for those."


def experiment_view(services: Services, experiment_id: str) -> Experiment:
    """Return an experiment with its members, and the verdict if it has a recipe."""
    with services.engine.connect() as connection:
        row, members = find_experiment(connection, experiment_id), members_of(connection, experiment_id)
    return Experiment(**_experiment_fields(row, members), verdict=_verdict(services, row, members))


def answer_in_transaction(connection: Connection, experiment_id: str) -> dict[str, Any]:
    """Return the response that is stored under the idempotency key, read in the submission's transaction."""
    row, members = find_experiment(connection, experiment_id), members_of(connection, experiment_id)
    verdict = Verdict(measured=None, holds=None, reason=NOT_ENDED) if row.recipe else None
    return Experiment(**_experiment_fields(row, members), verdict=verdict).model_dump(mode="json")


def _experiment_fields(row: ExperimentRow, members: list[MemberRow]) -> dict[str, Any]:
    flat = [flattened(member.spec) for member in members]
    fields_of_labels = differing_fields(flat)
    return summary_fields(row, dict(Counter(member.state for member in members))) | {
        "request": row.request,
        "members": [
            Member(
                job_id=member.job_id,
                state=member.state,
                seed=member.spec.seed,
                name=name,
                label={field: fields.get(field) for field in fields_of_labels},
                accuracy=member.evaluation.accuracy if member.evaluation else None,
            )
            for member, fields, name in zip(members, flat, short_names(flat), strict=True)
        ],
    }


def summary_fields(row: ExperimentRow, states: dict[JobState, int]) -> dict[str, Any]:
    """Return the fields of `ExperimentSummary`; `states` counts the members in each state."""
    base = f"/experiments/{row.id}"
    return {
        "id": row.id,
        "name": row.name or _name(row),
        "note": row.note,
        "labels": dict(row.labels),
        "version": row.version,
        "recipe": row.recipe,
        "states": states,
        "has_ended": set(states) <= ENDED,
        "created_at": datetime.fromtimestamp(row.created_at, UTC),
        "links": ExperimentLinks(
            self=base, events=f"{base}/events", comparison=f"{base}/comparison", cancel=f"{base}/cancel"
        ),
    }


def _name(row: ExperimentRow) -> str:
    if row.recipe is not None:
        recipe = RECIPES.get(row.recipe)
        return f"{row.recipe} {recipe.title.replace('_', ' ')}" if recipe else row.recipe
    request = row.request
    schemes = request.get("schemes") or [request.get("base", {}).get("init", {})]
    names = [scheme if isinstance(scheme, str) else scheme.get("scheme", USUAL_SCHEME) for scheme in schemes]
    listed = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    seeds = len(request.get("seeds", [DEFAULT_SEED]))
    return f"{listed}; {seeds} seed{'' if seeds == 1 else 's'}"


def _verdict(services: Services, row: ExperimentRow, members: list[MemberRow]) -> Verdict | None:
    if row.recipe is None:
        return None
    if any(member.state not in ENDED for member in members):
        return Verdict(measured=None, holds=None, reason=NOT_ENDED)
    lost = row.members - sum(member.evaluation is not None for member in members)
    recipe = RECIPES.get(row.recipe)
    if lost or recipe is None:
        reason = (
            f"{lost} members have no result: they failed, were cancelled or deleted." if lost else "No such recipe."
        )
        return Verdict(measured=None, holds=None, reason=reason)
    seeds = list(dict.fromkeys(member.spec.seed for member in members))
    if {member.spec for member in members} != set(recipe.members(seeds)):
        return Verdict(measured=None, holds=None, reason=OTHER_RECIPE)
    measured, holds, table = recipe.judge(outcomes_of(services.engine, row.id, members))
    return Verdict(measured=measured, holds=holds, reason=None, table=[list(line) for line in table])


def comparison_of(
    engine: Engine, experiment_id: str, baseline: str | None, rates: Literal["all", "best"]
) -> Comparison:
    """Return the comparison of an experiment's succeeded members, at all rates or at the best of each scheme."""
    rows = list_members(engine, experiment_id)
    members = compared_members(engine, experiment_id, rows)
    if rates == "all":
        return compare(members, baseline)
    unfinished = [row.spec for row in rows if row.state not in ENDED]
    return compare(members, baseline, at_best_rates(members, [row.spec for row in rows], unfinished))


PAIR_COLUMNS = (
    "first", "second", "seeds", "mean_difference", "low", "high", "p_value", "p_adjusted", "adjustment", "verdict"
)  # fmt: skip


def csv_of_pairs(comparison: Comparison) -> str:
    """Return CSV with one row per pair of groups: the difference with its interval, and its test."""
    names = {json.dumps(group.label, sort_keys=True): group.name for group in comparison.groups}
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(PAIR_COLUMNS)
    for pair in comparison.pairs:
        groups = [names[json.dumps(label, sort_keys=True)] for label in (pair.first, pair.second)]
        found = pair.accuracy_difference
        numbers = [found.mean, found.low, found.high, pair.p_value, pair.p_adjusted]
        writer.writerow([*groups, len(pair.seeds), *numbers, pair.adjustment, pair.verdict])
    return out.getvalue()


def csv_of(services: Services, experiment_id: str) -> str:
    """Return CSV with one row per member: the fields in which the specs differ, and the evaluation."""
    members = list_members(services.engine, experiment_id)
    flat = [flattened(member.spec) for member in members]
    names = differing_fields(flat)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["job_id", "state", "seed", *names, "accuracy", "evaluated_on", "n", "mean_negative_log_likelihood"]
    )
    for member, fields in zip(members, flat, strict=True):
        found = member.evaluation
        judged = (
            [found.accuracy, found.evaluated_on, found.n, found.mean_negative_log_likelihood] if found else [""] * 4
        )
        row = [json.dumps(value) if isinstance(value, list) else value for value in map(fields.get, names)]
        writer.writerow([member.job_id, member.state, member.spec.seed, *row, *judged])
    return out.getvalue()
