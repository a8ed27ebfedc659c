"""Estimate when queued jobs will start, from their places in the queue and the work before them.

Speed is measured on jobs that succeeded: the work of an epoch (`TrainSpec.epoch_work`) by its seconds of training, and
apart from it the seconds that a job takes beside its training. Divided by all of its time, the work of a job of .2 s
would give a speed at which large jobs would seem to take hours. So would epochs of milliseconds on a busy machine: the
largest of the last 500 jobs are asked, and others that have at least a tenth of their work.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from models.spec import TrainSpec
from service.store.engine import now
from service.store.jobs import DeviceChoice
from service.store.tables import epochs, jobs, runs
from service.store.workers import count_live

MEASURED_JOBS = 20
REMEMBERED_JOBS = 500
LARGEST_OVER_LEAST = 10
LEAST_MEASURED_S = 5.0
"""With fewer seconds of training a machine is not taken for slower than `CAUTIOUS_SPEED`."""


@dataclass(frozen=True)
class Place:
    """A queued job's place, 1 is next; `starts_at` in seconds since 1970, None if it cannot be estimated."""

    position: int
    starts_at: float | None


@dataclass(frozen=True)
class Speed:
    """What a worker does: work per second of training, and the seconds of a job beside its training."""

    work_per_s: float
    fixed_s: float

    def duration_s(self, work: float, job_count: int = 1) -> float:
        """Return the seconds that jobs of this much work together take a worker."""
        return job_count * self.fixed_s + work / self.work_per_s


CAUTIOUS_SPEED = Speed(work_per_s=5e10, fixed_s=1.0)
"""Before anything was measured: an epoch of the first notebook in 1.1 s, where most processors take .2 to .5."""


@dataclass(frozen=True)
class Capacity:
    """The workers at an instant: how many are live, their speed, and the seconds left of running jobs."""

    instant: float
    live_workers: int
    speed: Speed | None
    busy_s: float

    def wait_s(self, work_before: float, jobs_before: int) -> float | None:
        """Return the seconds until a worker is free for a job behind others; None if that is unknown."""
        if self.live_workers == 0:
            return None
        if self.speed is None:
            return 0.0 if jobs_before == 0 and self.busy_s == 0 else None
        return (self.busy_s + self.speed.duration_s(work_before, jobs_before)) / self.live_workers

    def duration_s(self, work: float) -> float | None:
        """Return the seconds that a job of this work takes; None before a job with an epoch has succeeded."""
        return None if self.speed is None else self.speed.duration_s(work)


def measured_speed(connection: Connection) -> Speed | None:
    """Return the speed of a worker by its jobs; None before a job with an epoch has succeeded.

    The work per second is the median of the largest jobs, the seconds beside it that of the last ones. The last epoch
    of a job stands for all: it needs one row, and the first one may hold the compilation of kernels.
    """
    succeeded = select(jobs.c.id, jobs.c.work).where(jobs.c.state == "succeeded").order_by(jobs.c.id.desc())
    remembered = succeeded.limit(REMEMBERED_JOBS).subquery()
    largest = select(remembered.c.id).order_by(remembered.c.work.desc()).limit(MEASURED_JOBS).subquery()
    last = succeeded.limit(MEASURED_JOBS).subquery()
    ended = (
        select(
            *(jobs.c.work, jobs.c.epoch, jobs.c.spec),
            (jobs.c.ended_at - jobs.c.started_at).label("seconds"),
            epochs.c.metrics["duration_s"].as_float().label("epoch_s"),
            runs.c.pins,
        )
        .join(runs, jobs.c.run_id == runs.c.id)
        .join(epochs, and_(epochs.c.job_id == jobs.c.id, epochs.c.epoch == jobs.c.epoch))
        .where(or_(jobs.c.id.in_(select(last.c.id)), jobs.c.id.in_(select(largest.c.id))))
        .order_by(jobs.c.id.desc())
    )
    rows = [row for row in connection.execute(ended) if row.epoch_s > 0]
    if not rows:
        return None
    per_s = [_epoch_work(row) / row.epoch_s for row in rows]
    least_work = max(row.work for row in rows) / LARGEST_OVER_LEAST
    speed = median(own for row, own in zip(rows, per_s, strict=True) if row.work >= least_work)
    if sum(row.epoch_s * max(1, row.epoch) for row in rows) < LEAST_MEASURED_S:
        speed = max(speed, CAUTIOUS_SPEED.work_per_s)
    beside = [_beside_s(row, own) for row, own in zip(rows[:MEASURED_JOBS], per_s, strict=False)]
    return Speed(speed, median(beside))


def _beside_s(row: Any, work_per_s: float) -> float:
    """Return a job's share of the seconds of its run beside training. On a CPU the jobs of a run take turns."""
    pins = row.pins or {}
    jobs_of_run = pins.get("jobs_side_by_side", 1)
    turns = int(jobs_of_run) if pins.get("device") == "cpu" else 1
    return max(0.0, float(row.seconds) - turns * _work_done(row) / work_per_s) / int(jobs_of_run)


def _epoch_work(row: Any) -> float:
    if row.spec["init"]["scheme"] == "dbn":
        return TrainSpec.model_validate(row.spec).epoch_work
    return float(row.work) / int(row.spec["epochs"])


def _work_done(row: Any) -> float:
    """Return the work that an ended job has done: less than was expected of it if it ran out of patience."""
    return float(row.work - (row.spec["epochs"] - row.epoch) * _epoch_work(row))


def capacity(connection: Connection, worker_ttl_s: float, device: DeviceChoice = "any") -> Capacity:
    """Return the present capacity of the workers for jobs that ask for a device."""
    instant = float(connection.execute(select(now())).scalar_one())
    running = select(jobs.c.run_id, jobs.c.progress).where(jobs.c.state.in_(["running", "pausing", "cancelling"]))
    left = {row.run_id: row.progress["time_left_s"] or 0.0 for row in connection.execute(running) if row.progress}
    return Capacity(
        instant=instant,
        live_workers=count_live(connection, worker_ttl_s, device),
        speed=measured_speed(connection),
        busy_s=float(sum(left.values())),
    )


def places(connection: Connection, job_ids: Collection[str], worker_ttl_s: float) -> dict[str, Place]:
    """Return the places of those of `job_ids` that are queued."""
    order = (jobs.c.priority, jobs.c.run_id)
    queue = (
        select(
            jobs.c.id,
            func.row_number().over(order_by=order).label("position"),
            func.sum(jobs.c.work).over(order_by=order).label("work_through"),
            jobs.c.work,
            jobs.c.device,
        )
        .where(jobs.c.state == "queued")
        .subquery()
    )
    rows = connection.execute(select(queue).where(queue.c.id.in_(job_ids))).all()
    if not rows:
        return {}
    capacities = {device: capacity(connection, worker_ttl_s, device) for device in {row.device for row in rows}}
    placed = {}
    for row in rows:
        now_can = capacities[row.device]
        wait_s = now_can.wait_s(row.work_through - row.work, row.position - 1)
        placed[row.id] = Place(row.position, None if wait_s is None else now_can.instant + wait_s)
    return placed


def queued_before(connection: Connection, priority: int) -> tuple[int, float]:
    """Return how many jobs, and how much work, a new job of this priority would have before it."""
    before = and_(jobs.c.state == "queued", jobs.c.priority <= priority)
    row = connection.execute(select(func.count(), func.coalesce(func.sum(jobs.c.work), 0.0)).where(before)).one()
    return int(row[0]), float(row[1])


def queued_count(connection: Connection) -> int:
    """Return how many jobs are queued."""
    return int(connection.execute(select(func.count()).where(jobs.c.state == "queued")).scalar_one())
