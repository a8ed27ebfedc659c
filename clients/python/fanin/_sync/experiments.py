"""Experiments: jobs that are submitted together to be compared."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from fanin import answers
from fanin._sync import streams
from fanin._sync.jobs import Job, Jobs
from fanin._sync.pages import Items, Place
from fanin._sync.transport import Transport, answer_in
from fanin._sync.waits import until_ended
from fanin.answers import Event, ExperimentSummary, RecipeView
from fanin.bodies import UNSET, Device, Json, Priority, Unset, changes, condition, given
from fanin.comparison import Comparison
from fanin.errors import InvalidRequest
from fanin.html import experiment_html
from fanin.waiting import Waiting


class Experiment(answers.Experiment):
    """An experiment as it was when it was fetched; `refresh()` fetches it again."""

    def __init__(self, data: Mapping[str, Any], transport: Transport) -> None:
        super().__init__(data)
        self._transport = transport

    def refresh(self) -> Experiment:
        """Return the experiment as it is now."""
        return Experiments(self._transport).get(self.id)

    def wait(
        self, timeout_s: float | None = None, *, progress: bool | Callable[[Experiment], object] = False
    ) -> Experiment:
        """Wait until all members have ended, and return the experiment; see `job.wait`."""

        def fetch(transport: Transport) -> Experiment:
            return Experiment((Experiments(transport).get(self.id)).to_dict(), self._transport)

        return until_ended(self, self._transport, fetch, Waiting(f"The experiment {self.id}", timeout_s), progress)

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield the events of all members after an id (None: all), as they happen, until all have ended."""
        for event in Experiments(self._transport).events(self.id, after=after):
            yield event

    def jobs(self) -> Sequence[Job]:
        """Return the jobs of all members, in their order."""
        return [Jobs(self._transport).get(member.job_id) for member in self.members]

    def comparison(self, *, baseline: str | None = None, rates: Literal["best", "all"] | None = None) -> Comparison:
        """Return the comparison of the members' groups; see `experiments.comparison`."""
        return Experiments(self._transport).comparison(self.id, baseline=baseline, rates=rates)

    def refine(self) -> Experiment:
        """Add members at learning rates around the best one of each group."""
        return Experiments(self._transport).refine(self.id)

    def refined(
        self,
        times: int = 1,
        timeout_s: float | None = None,
        *,
        progress: bool | Callable[[Experiment], object] = False,
    ) -> Experiment:
        """Wait, and refine the rates and wait again so many times; return the experiment at the end.

        Each time adds at most two rates a group. It ends early when no rate is left between the best ones and their
        neighbours. `timeout_s` is for each wait; see `wait`.
        """
        experiment = self.wait(timeout_s, progress=progress)
        for _ in range(times):
            try:
                experiment = experiment.refine()
            except InvalidRequest as error:
                if error.kind != "no-finer-rates":
                    raise
                break
            experiment = experiment.wait(timeout_s, progress=progress)
        return experiment

    def cancel(self) -> Experiment:
        """Cancel the members that have not ended."""
        return Experiments(self._transport).cancel(self.id)

    def edit(
        self,
        *,
        name: str | Unset | None = UNSET,
        note: str | Unset | None = UNSET,
        labels: Mapping[str, str | None] | None = None,
        priority: Priority | None = None,
        if_unchanged: bool = False,
    ) -> Experiment:
        """Change the experiment's description; see `jobs.edit`. With `if_unchanged` only if nobody has since."""
        all_, version = Experiments(self._transport), self.version if if_unchanged else None
        return all_.edit(self.id, name=name, note=note, labels=labels, priority=priority, if_version=version)

    def delete(self) -> None:
        """Delete the experiment with all its members."""
        Experiments(self._transport).delete(self.id)

    def _repr_html_(self) -> str:
        return experiment_html(self)


class Experiments:
    """The experiments of a service: `client.experiments`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        base: Json | None = None,
        schemes: Iterable[str | Json] | None = None,
        depths: Iterable[int] | None = None,
        variants: Iterable[Json] | None = None,
        rates: Literal["auto"] | Iterable[float] | None = None,
        seeds: Iterable[int] | None = None,
        recipe: str | None = None,
        name: str | None = None,
        note: str | None = None,
        labels: Mapping[str, str] | None = None,
        device: Device | None = None,
        idempotency_key: str | None = None,
    ) -> Experiment:
        """Queue all combinations of schemes, depths, variants, rates and seeds of a base, or a published claim.

        `base` is the body of a job, such as `{"preset": "mnist_nn_deep"}`. A request that is sent again makes no second
        experiment: it has a key, made once, unless you pass your own.
        """
        body = given(
            base=base,
            schemes=schemes,
            depths=depths,
            variants=variants,
            rates=rates,
            seeds=seeds,
            recipe=recipe,
            name=name,
            note=note,
            labels=labels,
            device=device,
        )
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._transport.request("POST", "/experiments", body=body, headers=headers)
        return self._experiment(answer_in(response))

    def list(self, *, label: str | Sequence[str] | None = None, limit: int | None = None) -> Items[ExperimentSummary]:
        """Return short descriptions of the experiments, newest first."""
        place = Place("/experiments", ExperimentSummary, query={"label": label})
        return Items(self._transport, place, limit)

    def get(self, experiment_id: str) -> Experiment:
        """Return an experiment with its members."""
        path = {"experiment_id": experiment_id}
        return self._experiment(self._transport.answer("GET", "/experiments/{experiment_id}", path))

    def edit(
        self,
        experiment_id: str,
        *,
        name: str | Unset | None = UNSET,
        note: str | Unset | None = UNSET,
        labels: Mapping[str, str | None] | None = None,
        priority: Priority | None = None,
        if_version: int | None = None,
    ) -> Experiment:
        """Change name, note, labels, or the priority of waiting members; see `jobs.edit`."""
        body = changes(name=name, note=note, labels=labels, priority=priority)
        path, headers = {"experiment_id": experiment_id}, condition(if_version)
        response = self._transport.request(
            "PATCH", "/experiments/{experiment_id}", path, body=body, headers=headers, is_repeatable=if_version is None
        )
        return self._experiment(answer_in(response))

    def delete(self, experiment_id: str) -> None:
        """Delete an experiment with all its members, or nothing."""
        path = {"experiment_id": experiment_id}
        self._transport.request("DELETE", "/experiments/{experiment_id}", path, is_repeatable=False)

    def cancel(self, experiment_id: str) -> Experiment:
        """Cancel the members that have not ended."""
        path = {"experiment_id": experiment_id}
        response = self._transport.request("POST", "/experiments/{experiment_id}/cancel", path)
        return self._experiment(answer_in(response))

    def refine(self, experiment_id: str) -> Experiment:
        """Add members at learning rates around the best one of each group."""
        path = {"experiment_id": experiment_id}
        response = self._transport.request("POST", "/experiments/{experiment_id}/refine", path, is_repeatable=False)
        return self._experiment(answer_in(response))

    def comparison(
        self, experiment_id: str, *, baseline: str | None = None, rates: Literal["best", "all"] | None = None
    ) -> Comparison:
        """Return the groups of members with intervals, and tests of each pair, or of each against a baseline."""
        path, query = {"experiment_id": experiment_id}, {"baseline": baseline, "rates": rates}
        response = self._transport.request("GET", "/experiments/{experiment_id}/comparison", path, query=query)
        return Comparison(answer_in(response))

    def comparison_csv(
        self, experiment_id: str, *, table: Literal["members", "pairs"] = "members", baseline: str | None = None
    ) -> str:
        """Return the comparison as CSV, a row a member or a pair of groups."""
        path, query = {"experiment_id": experiment_id}, {"table": table, "baseline": baseline}
        response = self._transport.request(
            "GET", "/experiments/{experiment_id}/comparison", path, query=query, headers={"Accept": "text/csv"}
        )
        return response.text

    def events(self, experiment_id: str, *, after: int | None = None) -> Iterator[Event]:
        """Yield the events of all members after an id (None: all), as they happen, until all have ended."""
        path = {"experiment_id": experiment_id}
        stream = streams.events(self._transport, "/experiments/{experiment_id}/events", path, after=after)
        for event in stream:
            yield event

    def recipes(self) -> Items[RecipeView]:
        """Return the published claims that an experiment can test: `create(recipe="R7")`."""
        return Items(self._transport, Place("/recipes", RecipeView, has_pages=False))

    def _experiment(self, data: dict[str, Any]) -> Experiment:
        return Experiment(data, self._transport)
