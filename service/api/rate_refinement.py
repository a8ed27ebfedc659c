"""The members with which the learning rates of an experiment are refined."""

from __future__ import annotations

from sqlalchemy import Engine

from models.errors import InvalidSpec
from models.evaluation.rates import refined
from models.spec import TrainSpec
from service.api.experiment_requests import MAX_MEMBERS
from service.errors import IllegalTransition
from service.store.experiments import ExperimentRow, compared_members, list_members
from service.store.jobs import ENDED


def refined_members(engine: Engine, row: ExperimentRow) -> list[TrainSpec]:
    """Return the specs with which an experiment's rates are refined.

    Raises `IllegalTransition` while a member has not ended, `InvalidSpec` if there is nothing to refine.
    """
    rows = list_members(engine, row.id)
    if not row.request.get("rates"):
        raise InvalidSpec(f"{row.id} tries no learning rates.", 'Submit an experiment with "rates", such as "auto".')
    if any(member.state not in ENDED for member in rows):
        raise IllegalTransition(f"{row.id} still trains.", "Refine its rates when all members have ended.")
    specs = refined(compared_members(engine, row.id, rows), [member.spec for member in rows])
    if not specs:
        raise InvalidSpec(f"{row.id} has no rates to refine.", "Its best rates have neighbours within a factor of 1.1.")
    if len(rows) + len(specs) > MAX_MEMBERS:
        message = f"{row.id} would have more than {MAX_MEMBERS} members."
        raise InvalidSpec(message, "Submit an experiment with fewer rates.")
    return specs
