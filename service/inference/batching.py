"""Predict images and write the responses; independent of routes and of FastAPI.

Requests for one model that arrive in the same event-loop iteration share one forward pass. The first request yields so
that others can join, for up to `MAX_TURNS` iterations while each adds a request. It then predicts for the whole batch.
There is no timer. Large batches are predicted on other threads, in pieces that release the GIL, so that concurrent
small requests stay fast.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from models.errors import InvalidImage
from models.inference.compiled_forward import Floats
from models.inference.input_checks import WARNING_TEXT, InputWarning, input_warnings
from service.errors import Unavailable
from service.inference.decoding import Decoding
from service.inference.images import ReadImages
from service.inference.model_resolver import MAX_NAMES, ModelResolver, ResolvedModel
from service.inference.query import PredictQuery

WITH_NUMPY = orjson.OPT_SERIALIZE_NUMPY
SMALL_BATCH = 32
MAX_TURNS = 4
PIECE_IMAGES = 250
LABELS = [str(digit).encode() for digit in range(10)]
HINT = "Add ?fit=true to have the digit cropped, scaled, centred and, if necessary, inverted, as in MNIST."

Form = Literal["json", "raw", "npy"]
MEDIA_TYPES: dict[Form, str] = {
    "json": "application/json",
    "raw": "application/octet-stream",
    "npy": "application/x-npy",
}


class Answer(NamedTuple):
    """The content of a response, its media type, and the model as JOB@EPOCH (empty if several models answered)."""

    content: bytes
    media_type: str
    model: str


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
            return BatchPrediction(served, await self.by_pieces(served.predictor.predict, images))
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
            probabilities = served.predictor.predict(together)
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

    def _hand_over(self, name: str, waiting: list[_Waiting]) -> None:
        """Predict for the others of a batch whose first request was cancelled."""
        if not waiting:
            return
        task = asyncio.ensure_future(self._for_all(name, waiting[0].images[:0], waiting))
        task.add_done_callback(lambda done: done.exception())  # their futures hold the error


async def answer(answering: MicroBatcher, read: ReadImages, query: PredictQuery, accept: str) -> Answer:
    """Predict with the models of the query, and return the response in the format that `accept` requests."""
    form = form_of(accept)
    if query.models is None:
        result = await answering.predicted(query.model, read.images)
        if len(read.images) > SMALL_BATCH:
            content = await asyncio.to_thread(_written, read, query, form, result)
        else:
            content = _written(read, query, form, result)
        return Answer(content, MEDIA_TYPES[form], result.served.id)
    if form != "json":
        raise InvalidImage("Several models answer only in JSON.", "Request application/json, or a single model.")
    results = await asyncio.gather(*(answering.predicted(name, read.images) for name in query.names()))
    content = await asyncio.to_thread(_written_side_by_side, read, query, results)
    return Answer(content, MEDIA_TYPES["json"], "")


def form_of(accept: str) -> Form:
    """Return the format that an Accept header requests: JSON, raw float32, or .npy."""
    if "application/x-npy" in accept:
        return "npy"
    return "raw" if "application/octet-stream" in accept else "json"


def _written(read: ReadImages, query: PredictQuery, form: Form, result: BatchPrediction) -> bytes:
    if form == "raw":
        return result.probabilities.astype("<f4", copy=False).tobytes()
    if form == "npy":
        buffer = io.BytesIO()
        np.save(buffer, result.probabilities, allow_pickle=False)
        return buffer.getvalue()
    words = result.words or JsonFragments.of(read.images, result.probabilities)
    if query.is_plain and not read.batch and not read.fitted and not words.unlikely[0]:
        # The most frequent case: the same JSON as below, joined from parts that exist already.
        parts = b'{"label":', LABELS[words.labels[0]], b',"probabilities":[', words.numbers[0], b'],"model":'
        return b"".join(
            (*parts, result.served.described, b',"read_as":', _read_as(read.form, read.scale, False), b"}\n")
        )
    shared = {"model": orjson.Fragment(result.served.described), "read_as": _read_as_fragment(read)}
    return _dumped(
        _prediction_fields(read, query, result.probabilities) | shared | _warnings(words.unlikely, fitted=read.fitted)
    )


def _written_side_by_side(read: ReadImages, query: PredictQuery, results: Sequence[BatchPrediction]) -> bytes:
    answers = [
        _prediction_fields(read, query, result.probabilities) | {"model": orjson.Fragment(result.served.described)}
        for result in results
    ]
    warnings = _warnings(input_warnings(read.images), fitted=read.fitted)
    return _dumped({"answers": answers, "read_as": _read_as_fragment(read)} | warnings)


def _prediction_fields(read: ReadImages, query: PredictQuery, probabilities: Floats) -> dict[str, Any]:
    """Return the JSON fields of a model's prediction; those of a batch are under `predictions`."""
    labels = probabilities.argmax(axis=1).tolist()
    each = [_prediction(read, query, index, labels[index], probabilities[index]) for index in range(len(labels))]
    return {"predictions": each} if read.batch else each[0]


def _prediction(read: ReadImages, query: PredictQuery, index: int, label: int, probabilities: Floats) -> dict[str, Any]:
    fields: dict[str, Any] = {"label": label}
    if query.probabilities:
        fields["probabilities"] = probabilities
    if query.top_k is not None:
        best = np.argsort(-probabilities, kind="stable")[: query.top_k]
        fields["top"] = [{"label": int(digit), "probability": probabilities[digit]} for digit in best]
    if read.fitted:
        fields |= {"inverted": read.inverted[index], "seen": read.images[index]}
    return fields


@lru_cache
def _read_as(form: str, scale: str, fitted: bool) -> bytes:
    return orjson.dumps({"form": form, "scale": scale, "fitted": fitted})


def _read_as_fragment(read: ReadImages) -> orjson.Fragment:
    return orjson.Fragment(_read_as(read.form, read.scale, read.fitted))


def _warnings(kinds: Sequence[tuple[InputWarning, ...]], *, fitted: bool) -> dict[str, Any]:
    """Return the field `warnings` for images that are unlike the training digits, or nothing."""
    warnings = [
        {"index": index, "kind": kind, "detail": _warning_detail(kind, fitted=fitted)}
        for index, of_image in enumerate(kinds)
        for kind in of_image
    ]
    return {"warnings": warnings} if warnings else {}


def _warning_detail(kind: InputWarning, *, fitted: bool) -> str:
    text = f"The image is unlike the digits of the training set: {WARNING_TEXT[kind]}."
    return text if fitted else f"{text} {HINT}"


def _dumped(answer: dict[str, Any]) -> bytes:
    return orjson.dumps(answer, option=WITH_NUMPY | orjson.OPT_APPEND_NEWLINE)
