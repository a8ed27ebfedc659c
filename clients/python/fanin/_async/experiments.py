"""Experiments: jobs that are submitted together to be compared."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from fanin import answers
from fanin._async import streams
from fanin._async.jobs import AsyncJob, AsyncJobs
from fanin._async.pages import AsyncItems, Place
from fanin._async.transport import AsyncTransport, answer_in
from fanin._async.waits import until_ended
from fanin.answers import Event, ExperimentSummary, RecipeView
from fanin.bodies import UNSET, Device, Json, Priority, Unset, changes, condition, given
from fanin.comparison import Comparison
from fanin.errors import InvalidRequest
from fanin.html import experiment_html
from fanin.waiting import Waiting


class AsyncExperiment(answers.Experiment):
    """An experiment as it was when it was fetched; `refresh()` fetches it again."""

    def __init__(self, data: Mapping[str, Any], transport: AsyncTransport) -> None:
        super().__init__(data)
        self._transport = transport

    async def refresh(self) -> AsyncExperiment:
        """Return the experiment as it is now."""
        return await AsyncExperiments(self._transport).get(self.id)

    async def wait(
        self, timeout_s: float | None = None, *, progress: bool | Callable[[AsyncExperiment], object] = False
    ) -> AsyncExperiment:
        """Wait until all members have ended, and return the experiment; see `job.wait`."""

        async def fetch(transport: AsyncTransport) -> AsyncExperiment:
            return AsyncExperiment((await AsyncExperiments(transport).get(self.id)).to_dict(), self._transport)

        return await until_ended(
            self, self._transport, fetch, Waiting(f"The experiment {self.id}", timeout_s), progress
        )

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield the events of all members after an id (None: all), as they happen, until all have ended."""
        async for event in AsyncExperiments(self._transport).events(self.id, after=after):
            yield event

    async def jobs(self) -> Sequence[AsyncJob]:
        """Return the jobs of all members, in their order."""
        return [await AsyncJobs(self._transport).get(member.job_id) for member in self.members]

    async def comparison(
        self, *, baseline: str | None = None, rates: Literal["best", "all"] | None = None
    ) -> Comparison:
        """Return the comparison of the members' groups; see `experiments.comparison`."""
        return await AsyncExperiments(self._transport).comparison(self.id, baseline=baseline, rates=rates)

    async def refine(self) -> AsyncExperiment:
        """Add members at learning rates around the best one of each group."""
        return await AsyncExperiments(self._transport).refine(self.id)

    async def refined(
        self,
        times: int = 1,
        timeout_s: float | None = None,
        *,
        progress: bool | Callable[[AsyncExperiment], object] = False,
    ) -> AsyncExperiment:
        """Wait, and refine the rates and wait again so many times; return the experiment at the end.

        Each time adds at most two rates a group. It ends early when no rate is left between the best ones and their
        neighbours. `timeout_s` is for each wait; see `wait`.
        """
        experiment = await self.wait(timeout_s, progress=progress)
        for _ in range(times):
            try:
                experiment = await experiment.refine()
            except InvalidRequest as error:
                if error.kind != "no-finer-rates":
                    raise
                break
            experiment = await experiment.wait(timeout_s, progress=progress)
        return experiment

    async def cancel(self) -> AsyncExperiment:
        """Cancel the members that have not ended."""
        return await AsyncExperiments(self._transport).cancel(self.id)

    async def edit(
        self,
        *,
        name: str | Unset | None = UNSET,
        note: str | Unset | None = UNSET,
        labels: Mapping[str, str | None] | None = None,
        priority: Priority | None = None,
        if_unchanged: bool = False,
    ) -> AsyncExperiment:
        """Change the experiment's description; see `jobs.edit`. With `if_unchanged` only if nobody has since."""
        all_, version = AsyncExperiments(self._transport), self.version if if_unchanged else None
        return await all_.edit(self.id, name=name, note=note, labels=labels, priority=priority, if_version=version)

    async def delete(self) -> None:
        """Delete the experiment with all its members."""
        await AsyncExperiments(self._transport).delete(self.id)

    def _repr_html_(self) -> str:
        return experiment_html(self)


class AsyncExperiments:
    """The experiments of a service: `client.experiments`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
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
    ) -> AsyncExperiment:
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
        response = await self._transport.request("POST", "/experiments", body=body, headers=headers)
        return self._experiment(answer_in(response))

    def list(
        self, *, label: str | Sequence[str] | None = None, limit: int | None = None
    ) -> AsyncItems[ExperimentSummary]:
        """Return short descriptions of the experiments, newest first."""
        place = Place("/experiments", ExperimentSummary, query={"label": label})
        return AsyncItems(self._transport, place, limit)

    async def get(self, experiment_id: str) -> AsyncExperiment:
        """Return an experiment with its members."""
        path = {"experiment_id": experiment_id}
        return self._experiment(await self._transport.answer("GET", "/experiments/{experiment_id}", path))

    async def edit(
        self,
        experiment_id: str,
        *,
        name: str | Unset | None = UNSET,
        note: str | Unset | None = UNSET,
        labels: Mapping[str, str | None] | None = None,
        priority: Priority | None = None,
        if_version: int | None = None,
    ) -> AsyncExperiment:
        """Change name, note, labels, or the priority of waiting members; see `jobs.edit`."""
        body = changes(name=name, note=note, labels=labels, priority=priority)
        path, headers = {"experiment_id": experiment_id}, condition(if_version)
        response = await self._transport.request(
            "PATCH", "/experiments/{experiment_id}", path, body=body, headers=headers, is_repeatable=if_version is None
        )
        return self._experiment(answer_in(response))

    async def delete(self, experiment_id: str) -> None:
        """Delete an experiment with all its members, or nothing."""
        path = {"experiment_id": experiment_id}
        await self._transport.request("DELETE", "/experiments/{experiment_id}", path, is_repeatable=False)

    async def cancel(self, experiment_id: str) -> AsyncExperiment:
        """Cancel the members that have not ended."""
        path = {"experiment_id": experiment_id}
        response = await self._transport.request("POST", "/experiments/{experiment_id}/cancel", path)
        return self._experiment(answer_in(response))

    async def refine(self, experiment_id: str) -> AsyncExperiment:
        """Add members at learning rates around the best one of each group."""
        path = {"experiment_id": experiment_id}
        response = await self._transport.request(
            "POST", "/experiments/{experiment_id}/refine", path, is_repeatable=False
        )
        return self._experiment(answer_in(response))

    async def comparison(
        self, experiment_id: str, *, baseline: str | None = None, rates: Literal["best", "all"] | None = None
    ) -> Comparison:
        """Return the groups of members with intervals, and tests of each pair, or of each against a baseline."""
        path, query = {"experiment_id": experiment_id}, {"baseline": baseline, "rates": rates}
        response = await self._transport.request("GET", "/experiments/{experiment_id}/comparison", path, query=query)
        return Comparison(answer_in(response))

    async def comparison_csv(
        self, experiment_id: str, *, table: Literal["members", "pairs"] = "members", baseline: str | None = None
    ) -> str:
        """Return the comparison as CSV, a row a member or a pair of groups."""
        path, query = {"experiment_id": experiment_id}, {"table": table, "baseline": baseline}
        response = await self._transport.request(
            "GET", "/experiments/{experiment_id}/comparison", path, query=query, headers={"Accept": "text/csv"}
        )
        return response.text

    async def events(self, experiment_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """Yield the events of all members after an id (None: all), as they happen, until all have ended."""
        path = {"experiment_id": experiment_id}
        stream = streams.events(self._transport, "/experiments/{experiment_id}/events", path, after=after)
        async for event in stream:
            yield event

    def recipes(self) -> AsyncItems[RecipeView]:
        """Return the published claims that an experiment can test: `create(recipe="R7")`."""
        return AsyncItems(self._transport, Place("/recipes", RecipeView, has_pages=False))

    def _experiment(self, data: dict[str, Any]) -> AsyncExperiment:
        return AsyncExperiment(data, self._transport)
