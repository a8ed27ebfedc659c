"""The members with which the learning rates of an experiment are refined."""

from __future__ import annotations

from sqlalchemy import Engine

from models.errors import InvalidSpec
from models.evaluation.rates import refined
from models.spec import TrainSpec
from service.api.experiment_requests import MAX_MEMBERS
from service.errors import IllegalTransition, NoFinerRates
from service.store.experiments import ExperimentRow, compared_members, list_members
from service.store.jobs import ENDED


def refined_members(engine: Engine, row: ExperimentRow) -> list[TrainSpec]:
    """Return the specs with which an experiment's rates are refined.

    Raises `IllegalTransition` while a member has not ended, `NoFinerRates` if the best rates have no others between
    them and their neighbours, and `InvalidSpec` if no rates were tried or there would be too many members.
    """
    rows = list_members(engine, row.id)
    if not row.request.get("rates"):
        raise InvalidSpec(f"{row.id} tries no learning rates.", 'Submit an experiment with "rates", such as "auto".')
    if any(member.state not in ENDED for member in rows):
        raise IllegalTransition(f"{row.id} has members that have not ended.", "Refine its rates when all have.")
    members = compared_members(engine, row.id, rows)
    if not members:
        raise InvalidSpec(f"No member of {row.id} has a result.", "Train it again.")
    # A rate whose members were all cancelled was not tried.
    specs = refined(members, [member.spec for member in rows if member.state != "cancelled"])
    if not specs:
        message = f"{row.id} has no finer rates: the neighbours of its best ones are nearer than a factor of 1.21."
        raise NoFinerRates(message, "Its rates are as good as this search makes them.")
    if len(rows) + len(specs) > MAX_MEMBERS:
        message = f"{row.id} would have more than {MAX_MEMBERS} members."
        raise InvalidSpec(message, "Submit an experiment with fewer rates.")
    return specs
