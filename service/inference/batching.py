"""Predict images, many requests at once; independent of routes and of FastAPI.

Requests for one model that arrive in the same event-loop iteration share one forward pass. The first request yields so
that others can join, for up to `MAX_TURNS` iterations while each adds a request. It then predicts for the whole batch.
There is no timer. Large batches are predicted on other threads, in pieces that release the GIL, so that concurrent
small requests stay fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from models.errors import OutputNotFinite
from models.inference.compiled_forward import Floats
from models.inference.input_checks import input_warnings
from service.errors import Unavailable
from service.http.measures import note_predictions
from service.inference.decoding import Decoding
from service.inference.model_resolver import MAX_NAMES, ModelResolver, ResolvedModel

WITH_NUMPY = orjson.OPT_SERIALIZE_NUMPY
SMALL_BATCH = 32
MAX_TURNS = 4
PIECE_IMAGES = 250


class BatchPrediction(NamedTuple):
    """A model's prediction for n images: probabilities [n, 10], and their JSON fragments (None: not made)."""

    served: ResolvedModel
    probabilities: Floats
    words: JsonFragments | None = None

    def part(self, start: int, end: int) -> BatchPrediction:
        """Return the prediction for the images from `start` to before `end`."""
        words = None if self.words is None else self.words.part(start, end)
        return BatchPrediction(self.served, self.probabilities[start:end], words)


class JsonFragments(NamedTuple):
    """Per image: its label, its probabilities as JSON without brackets, and its warnings."""

    labels: list[Any]
    numbers: list[Any]
    unlikely: list[Any]

    def part(self, start: int, end: int) -> JsonFragments:
        """Return the fragments of the images from `start` to before `end`."""
        return JsonFragments(self.labels[start:end], self.numbers[start:end], self.unlikely[start:end])

    @classmethod
    def of(cls, images: NDArray[np.uint8], probabilities: Floats) -> JsonFragments:
        """Return the fragments of images uint8 [n, 28, 28] and their probabilities [n, 10]; one call serializes all."""
        numbers = orjson.dumps(probabilities, option=WITH_NUMPY)[2:-2].split(b"],[")
        return cls(probabilities.argmax(axis=1).tolist(), numbers, input_warnings(images))


class _Waiting(NamedTuple):
    images: NDArray[np.uint8]
    future: asyncio.Future[BatchPrediction]


class MicroBatcher:
    """Batches concurrent requests into one forward pass per model; belongs to one event loop."""

    def __init__(self, served: ModelResolver, threads: int) -> None:
        self._served = served
        self._pool = ThreadPoolExecutor(threads, "predict")
        self.decoding = Decoding(threads)
        self._waiting: dict[str, list[_Waiting]] = {}
        self.counts: dict[str, tuple[int, int]] = {}
        """Open Inference Protocol statistics: number of requests and number of images, by model name."""

    def invalidate(self) -> None:
        """Invalidate the model-name cache, because this process has just sent something newer."""
        self._served.invalidate()

    def count(self, name: str, images: int) -> None:
        """Count one inference of `images` images; ignores new names beyond `MAX_NAMES`."""
        if len(self.counts) < MAX_NAMES or name in self.counts:
            requests, seen = self.counts.get(name, (0, 0))
            self.counts[name] = requests + 1, seen + images

    def close(self) -> None:
        """Stop the threads, and close the resolver."""
        self.decoding.close()
        self._pool.shutdown()
        self._served.close()

    async def predicted(self, name: str, images: NDArray[np.uint8]) -> BatchPrediction:
        """Return the prediction for images uint8 [n, 28, 28] of the model that `name` resolves to now.

        Raises `NotFound`, `CheckpointDamaged`, `OutputNotFinite`.
        """
        if len(images) > SMALL_BATCH:
            served = await self.find(name)
            predicted = await self.by_pieces(served.predictor.predict, images)
            note_predictions(served.id, len(images))
            return BatchPrediction(served, predicted)
        waiting = self._waiting.get(name)
        if waiting is not None:
            future: asyncio.Future[BatchPrediction] = asyncio.get_running_loop().create_future()
            waiting.append(_Waiting(images, future))
            return await future
        self._waiting[name] = waiting = []
        try:
            await self._while_others_come(waiting)
        except asyncio.CancelledError:
            self._hand_over(name, waiting)
            raise
        finally:
            del self._waiting[name]
        return await self._for_all(name, images, waiting)

    @staticmethod
    async def _while_others_come(waiting: Sequence[_Waiting]) -> None:
        """Yield to other requests for an event-loop iteration, and again while each adds some, up to `MAX_TURNS`.

        Clients whose responses went out in the previous iteration send their next request in this time. An iteration
        takes a tenth of the time of a forward pass of their own.
        """
        for _ in range(MAX_TURNS):
            before = len(waiting)
            await asyncio.sleep(0)
            if len(waiting) == before:
                return

    async def by_pieces(self, predict: Callable[[NDArray[Any]], Floats], inputs: NDArray[Any]) -> Floats:
        """Return the probabilities [n, 10] of many inputs, predicted in pieces on all threads."""
        pieces = np.array_split(inputs, -(-len(inputs) // PIECE_IMAGES))
        loop = asyncio.get_running_loop()
        parts = await asyncio.gather(*(loop.run_in_executor(self._pool, predict, piece) for piece in pieces))
        return np.concatenate(parts)

    async def find(self, name: str) -> ResolvedModel:
        """Return the model that a name resolves to now. Raises `NotFound`, `CheckpointDamaged`."""
        return self._served.cached(name) or await self._served.resolve(name)

    async def _for_all(self, name: str, images: NDArray[np.uint8], others: Sequence[_Waiting]) -> BatchPrediction:
        """Predict for a request and the others of its batch; set the part or the error of each in its future."""
        try:
            served = self._served.cached(name) or await self._served.resolve(name)
            together = np.concatenate([images, *(request.images for request in others)]) if others else images
            try:
                probabilities = served.predictor.predict(together)
            except OutputNotFinite:
                if not others:
                    raise
                return self._each_alone(served, images, others)
            note_predictions(served.id, len(together))
            result = BatchPrediction(served, probabilities, JsonFragments.of(together, probabilities))
        except BaseException as error:
            for _, future in others:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else Unavailable("The service stops."))
            raise
        start = len(images)
        for request_images, future in others:
            if not future.done():  # cancelled if its client has disconnected
                future.set_result(result.part(start, start + len(request_images)))
            start += len(request_images)
        return result.part(0, len(images)) if others else result

    @staticmethod
    def _each_alone(served: ResolvedModel, images: NDArray[np.uint8], others: Sequence[_Waiting]) -> BatchPrediction:
        """Predict for each request of a batch by itself: images of one of them make the network overflow."""

        def predicted(own: NDArray[np.uint8]) -> BatchPrediction:
            probabilities = served.predictor.predict(own)
            note_predictions(served.id, len(own))
            return BatchPrediction(served, probabilities, JsonFragments.of(own, probabilities))

        for own, future in others:
            if future.done():  # cancelled if its client has disconnected
                continue
            try:
                future.set_result(predicted(own))
            except OutputNotFinite as error:
                future.set_exception(error)
        return predicted(images)

    def _hand_over(self, name: str, waiting: list[_Waiting]) -> None:
        """Predict for the others of a batch whose first request was cancelled."""
        if not waiting:
            return
        task = asyncio.ensure_future(self._for_all(name, waiting[0].images[:0], waiting))
        task.add_done_callback(lambda done: done.exception())  # their futures hold the error
