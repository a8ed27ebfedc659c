"""Requests that arrive together are predicted together; models move under them without a wrong or a lost answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine

from models.errors import OutputNotFinite
from models.inference.compiled_forward import Floats
from models.inference.predictor import Predictor
from service.artifacts.store import Artifacts
from service.errors import NotFound
from service.inference import model_resolver as served_module
from service.inference.batching import MAX_TURNS, SMALL_BATCH, MicroBatcher
from service.inference.model_resolver import ModelResolver
from service.inference.predictor_cache import Predictors
from service.store.aliases import set_alias
from service.store.events import last_event_id
from service.store.job_transitions import delete_job
from tests.service.conftest import SMALL, Bench

ONE = np.zeros((1, 28, 28), np.uint8)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each forward pass had."""
    seen: list[int] = []
    original = Predictor.predict

    def counted(self: Predictor, images: NDArray[np.uint8]) -> Floats:
        seen.append(len(images))
        return original(self, images)

    monkeypatch.setattr(Predictor, "predict", counted)
    return seen


def within(
    bench: Bench,
    work: Callable[[MicroBatcher], Awaitable[None]],
    limit_bytes: int = 10**9,
    trust_s: float | None = None,
) -> None:
    async def run() -> None:
        predictors = Predictors(bench.artifacts, limit_bytes)
        answering = MicroBatcher(ModelResolver(bench.engine, predictors, trust_s), 2)
        try:
            await work(answering)
        finally:
            answering.close()

    asyncio.run(run())


def test_requests_of_one_turn_of_the_loop_are_one_forward_pass_a_model(bench: Bench, calls: list[int]) -> None:
    first, second = bench.trained(), bench.trained(SMALL.model_copy(update={"seed": 1}))

    async def work(answering: MicroBatcher) -> None:
        names = [first, second, first, "latest", first]
        images = [np.full((1, 28, 28), level, np.uint8) for level in range(5)]
        found = await asyncio.gather(*(answering.predicted(*pair) for pair in zip(names, images, strict=True)))
        assert sorted(calls) == [1, 1, 3]
        for name, image, one in zip(names, images, found, strict=True):
            served = one.served
            assert served.row.checkpoint.job_id == (second if name == "latest" else name)
            np.testing.assert_allclose(one.probabilities, served.predictor.predict(image), atol=1e-6)

    within(bench, work)


@pytest.mark.parametrize(
    ("turns", "passes"),
    [
        ([0, 1, 2], [1, 1, 1]),  # who is alone in its turn does not wait
        ([0, 0, 1, 2], [4]),  # each turn brings one
        ([0, 0, 2], [2, 1]),  # the turn between brings none
        ([0, 0, *range(1, MAX_TURNS + 2)], [MAX_TURNS + 1, 1, 1]),  # the first is answered though more are coming
    ],
)
def test_a_pass_waits_while_each_turn_brings_more_and_not_for_ever(
    turns: list[int], passes: list[int], bench: Bench, calls: list[int]
) -> None:
    job_id = bench.trained()

    async def work(answering: MicroBatcher) -> None:
        async def asked_after(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await answering.predicted(job_id, ONE)

        await answering.predicted(job_id, ONE)  # the model is in memory now, and found without a thread
        calls.clear()
        await asyncio.gather(*map(asked_after, turns))
        assert calls == passes

    within(bench, work)


def test_large_batches_go_to_other_threads_in_pieces(bench: Bench, calls: list[int]) -> None:
    job_id = bench.trained()

    async def work(answering: MicroBatcher) -> None:
        images = np.random.default_rng(0).integers(0, 256, (1000, 28, 28)).astype(np.uint8)
        found = await answering.predicted(job_id, images)
        assert calls == [250] * 4
        assert len(images) > SMALL_BATCH
        np.testing.assert_allclose(found.probabilities, found.served.predictor.predict(images), atol=1e-6)

    within(bench, work)


def test_a_name_means_what_it_means_at_each_look(bench: Bench) -> None:
    first = bench.trained()
    set_alias(bench.engine, "champion", f"{first}@1", None)

    async def work(answering: MicroBatcher) -> None:
        async def epoch(name: str) -> tuple[str, int]:
            served = (await answering.predicted(name, ONE)).served
            return served.row.checkpoint.job_id, served.row.checkpoint.epoch

        assert await epoch("champion") == (first, 1)
        assert await epoch("latest") == (first, 2)
        second = await asyncio.to_thread(bench.trained, SMALL.model_copy(update={"seed": 1}))
        assert await epoch("latest") == (second, 2)
        assert await epoch("champion") == (first, 1)
        await asyncio.to_thread(set_alias, bench.engine, "champion", second, None)
        assert await epoch("champion") == (second, 2)
        assert await epoch(first) == (first, 2)

    within(bench, work)


def test_a_look_is_trusted_for_a_while_and_until_this_process_tells_something(bench: Bench) -> None:
    job_id = bench.trained()
    set_alias(bench.engine, "champion", f"{job_id}@1", None)

    async def work(answering: MicroBatcher) -> None:
        async def epoch() -> int:
            return (await answering.predicted("champion", ONE)).served.row.checkpoint.epoch

        assert await epoch() == 1
        await asyncio.to_thread(set_alias, bench.engine, "champion", f"{job_id}@2", None)
        assert await epoch() == 1
        answering.invalidate()
        assert await epoch() == 2

    within(bench, work, trust_s=3600)


def test_a_look_during_which_something_was_told_is_not_trusted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = bench.trained()
    set_alias(bench.engine, "champion", f"{job_id}@1", None)

    async def work(answering: MicroBatcher) -> None:
        async def epoch() -> int:
            return (await answering.predicted("champion", ONE)).served.row.checkpoint.epoch

        def look_while_others_are_told(engine: Engine) -> int:
            found = last_event_id(engine)
            set_alias(bench.engine, "champion", f"{job_id}@2", None)
            answering.invalidate()
            return found

        assert await epoch() == 1
        with monkeypatch.context() as patch:
            patch.setattr(served_module, "last_event_id", look_while_others_are_told)
            await answering._served.resolve("champion")  # as where the database is a server
        assert await epoch() == 2

    within(bench, work, trust_s=3600)


def test_a_model_that_was_deleted_answers_no_more(bench: Bench) -> None:
    job_id = bench.trained()

    async def work(answering: MicroBatcher) -> None:
        await answering.predicted(job_id, ONE)
        await asyncio.to_thread(delete_job, bench.engine, job_id)
        with pytest.raises(NotFound):
            await answering.predicted(job_id, ONE)

    within(bench, work)


def test_who_has_gone_does_not_keep_the_others_from_their_answer(bench: Bench) -> None:
    job_id = bench.trained()

    async def work(answering: MicroBatcher) -> None:
        gone = asyncio.ensure_future(answering.predicted(job_id, ONE))
        stays = asyncio.ensure_future(answering.predicted(job_id, ONE))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).probabilities.shape == (1, 10)

    within(bench, work)


def test_an_error_reaches_everybody_who_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = bench.trained()

    async def work(answering: MicroBatcher) -> None:
        await answering.predicted(job_id, ONE)

        def broken(_self: Predictor, _images: NDArray[np.uint8]) -> Floats:
            raise ZeroDivisionError

        monkeypatch.setattr(Predictor, "predict", broken)
        found = await asyncio.gather(*(answering.predicted(job_id, ONE) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [ZeroDivisionError] * 3

    within(bench, work)


def test_an_image_that_overflows_fails_its_own_request_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, bright, original = bench.trained(), np.full((1, 28, 28), 255, np.uint8), Predictor.predict

    def overflowing(self: Predictor, images: NDArray[np.uint8]) -> Floats:
        if images.max() == 255:
            raise OutputNotFinite("It overflows.")
        return original(self, images)

    monkeypatch.setattr(Predictor, "predict", overflowing)

    async def work(answering: MicroBatcher) -> None:
        for order in ((bright, ONE, ONE), (ONE, bright, ONE)):
            asked = (answering.predicted(job_id, images) for images in order)
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(one) is OutputNotFinite for one in found] == [images is bright for images in order]

    within(bench, work)


def test_memory_stays_within_its_limit_while_many_models_are_asked(bench: Bench) -> None:
    jobs = [bench.trained(SMALL.model_copy(update={"seed": seed, "epochs": 1})) for seed in range(3)]

    async def work(answering: MicroBatcher) -> None:
        for job_id in [*jobs, *jobs]:
            served = (await answering.predicted(job_id, ONE)).served
            assert served.row.checkpoint.job_id == job_id
        assert len(answering._served._predictors._loaded) == 1

    within(bench, work, limit_bytes=1)


def test_a_file_that_is_damaged_is_told_and_never_answered_from(bench: Bench, artifacts: Artifacts) -> None:
    from models.errors import CheckpointDamaged
    from service.store.checkpoints import find_model

    job_id = bench.trained()
    path = Path(artifacts.where) / find_model(bench.engine, job_id).checkpoint.weights_path
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    async def work(answering: MicroBatcher) -> None:
        with pytest.raises(CheckpointDamaged):
            await answering.predicted(job_id, ONE)

    within(bench, work)
