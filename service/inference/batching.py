"""Answer posted images: read them, let the models predict, write the answer. Knows neither routes nor FastAPI.

All requests that arrive in one turn of the event loop are answered by one forward pass a model, with no timer: the
first one lets the others of its turn come in, and of a few turns more while each brings some, and then predicts for
all. A large batch is predicted on other threads, in pieces that leave the interpreter's lock, so that small requests
stay quick beside it.
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
from service.inference.images import ReadImages
from service.inference.model_resolver import MAX_NAMES, ModelResolver, ResolvedModel
from service.inference.query import PredictQuery

WITH_NUMPY = orjson.OPT_SERIALIZE_NUMPY
SMALL_BATCH = 32
MAX_TURNS = 4
PIECE_IMAGES = 250
LABELS = [str(digit).encode() for digit in range(10)]
HINT = "Add ?fit=true to have the digit cropped, scaled, centred and inverted if need be, as MNIST was made."

Form = Literal["json", "raw", "npy"]
MEDIA_TYPES: dict[Form, str] = {
    "json": "application/json",
    "raw": "application/octet-stream",
    "npy": "application/x-npy",
}


class Answer(NamedTuple):
    """What is sent back."""

    content: bytes
    media_type: str
    model: str


class BatchPrediction(NamedTuple):
    """What a model says of a request's images, uint8 [n, 28, 28]: probabilities [n, 10], and the same for JSON."""

    served: ResolvedModel
    probabilities: Floats
    words: JsonFragments | None = None

    def part(self, start: int, end: int) -> BatchPrediction:
        """Return what is said of some of the images."""
        words = None if self.words is None else self.words.part(start, end)
        return BatchPrediction(self.served, self.probabilities[start:end], words)


class JsonFragments(NamedTuple):
    """What JSON says of each image: its label, its probabilities without brackets, and why it is no likely digit."""

    labels: list[Any]
    numbers: list[Any]
    unlikely: list[Any]

    def part(self, start: int, end: int) -> JsonFragments:
        """Return the words for some of the images."""
        return JsonFragments(self.labels[start:end], self.numbers[start:end], self.unlikely[start:end])

    @classmethod
    def of(cls, images: NDArray[np.uint8], probabilities: Floats) -> JsonFragments:
        """Return the words for images and their probabilities, made for all at once."""
        numbers = orjson.dumps(probabilities, option=WITH_NUMPY)[2:-2].split(b"],[")
        return cls(probabilities.argmax(axis=1).tolist(), numbers, input_warnings(images))


class _Waiting(NamedTuple):
    images: NDArray[np.uint8]
    future: asyncio.Future[BatchPrediction]


class MicroBatcher:
    """The models that predict, and the requests of this turn of the event loop."""

    def __init__(self, served: ModelResolver, threads: int) -> None:
        self._served = served
        self._pool = ThreadPoolExecutor(threads, "predict")
        self._waiting: dict[str, list[_Waiting]] = {}
        self.counts: dict[str, tuple[int, int]] = {}
        """By the name of the model: how often it was asked over the Open Inference Protocol, and of how many images."""

    def look_again(self) -> None:
        """Ask anew which models names mean, because this process has told somebody something newer."""
        self._served.look_again()

    def count(self, name: str, images: int) -> None:
        """Count an inference."""
        if len(self.counts) < MAX_NAMES or name in self.counts:
            asked, seen = self.counts.get(name, (0, 0))
            self.counts[name] = asked + 1, seen + images

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        self._served.close()

    async def predicted(self, name: str, images: NDArray[np.uint8]) -> BatchPrediction:
        """Return what the model that a name means now says of images uint8 [n, 28, 28].

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
        """Let the others of this turn of the event loop come in, and of the next while they bring some.

        Clients that were answered in the turn before are asking again by then: waiting for them costs a turn, a tenth
        of what a forward pass of their own would.
        """
        for _ in range(MAX_TURNS):
            before = len(waiting)
            await asyncio.sleep(0)
            if len(waiting) == before:
                return

    async def by_pieces(self, predict: Callable[[NDArray[Any]], Floats], inputs: NDArray[Any]) -> Floats:
        """Return what a predictor says of many inputs, piece by piece on all threads."""
        pieces = np.array_split(inputs, -(-len(inputs) // PIECE_IMAGES))
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(*(loop.run_in_executor(self._pool, predict, piece) for piece in pieces))
        return np.concatenate(found)

    async def find(self, name: str) -> ResolvedModel:
        """Return the model that a name means now."""
        return self._served.known(name) or await self._served.find(name)

    async def _for_all(self, name: str, images: NDArray[np.uint8], others: Sequence[_Waiting]) -> BatchPrediction:
        """Predict for one request and the others of its turn; give them their part, or the error."""
        try:
            served = self._served.known(name) or await self._served.find(name)
            together = np.concatenate([images, *(one.images for one in others)]) if others else images
            probabilities = served.predictor.predict(together)
            found = BatchPrediction(served, probabilities, JsonFragments.of(together, probabilities))
        except BaseException as error:
            for _, future in others:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else Unavailable("The service stops."))
            raise
        start = len(images)
        for own, future in others:
            if not future.done():  # its client may have gone
                future.set_result(found.part(start, start + len(own)))
            start += len(own)
        return found.part(0, len(images)) if others else found

    def _hand_over(self, name: str, waiting: list[_Waiting]) -> None:
        """Predict for the others of a turn whose first request has gone."""
        if not waiting:
            return
        task = asyncio.ensure_future(self._for_all(name, waiting[0].images[:0], waiting))
        task.add_done_callback(lambda done: done.exception())  # they have been told


async def answer(answering: MicroBatcher, read: ReadImages, query: PredictQuery, accept: str) -> Answer:
    """Predict by one model or several side by side, and write what the client asks for."""
    form = form_of(accept)
    if query.models is None:
        found = await answering.predicted(query.model, read.images)
        if len(read.images) > SMALL_BATCH:
            content = await asyncio.to_thread(_written, read, query, form, found)
        else:
            content = _written(read, query, form, found)
        return Answer(content, MEDIA_TYPES[form], found.served.id)
    if form != "json":
        raise InvalidImage("Several models answer in JSON.", "Ask for application/json, or one model at a time.")
    all_found = await asyncio.gather(*(answering.predicted(name, read.images) for name in query.names()))
    content = await asyncio.to_thread(_written_side_by_side, read, query, all_found)
    return Answer(content, MEDIA_TYPES["json"], "")


def form_of(accept: str) -> Form:
    """Return what a client wants: JSON, raw float32, or the same as .npy."""
    if "application/x-npy" in accept:
        return "npy"
    return "raw" if "application/octet-stream" in accept else "json"


def _written(read: ReadImages, query: PredictQuery, form: Form, found: BatchPrediction) -> bytes:
    if form == "raw":
        return found.probabilities.astype("<f4", copy=False).tobytes()
    if form == "npy":
        buffer = io.BytesIO()
        np.save(buffer, found.probabilities, allow_pickle=False)
        return buffer.getvalue()
    words = found.words or JsonFragments.of(read.images, found.probabilities)
    if query.is_plain and not read.batch and not read.fitted and not words.unlikely[0]:
        # What is asked most: the same JSON as below, put together from parts that are there already.
        parts = b'{"label":', LABELS[words.labels[0]], b',"probabilities":[', words.numbers[0], b'],"model":'
        return b"".join((*parts, found.served.described, b',"read_as":', _read_as(read.form, read.scale, False), b"}"))
    shared = {"model": orjson.Fragment(found.served.described), "read_as": _read_as_fragment(read)}
    return _dumped(
        _prediction_fields(read, query, found.probabilities) | shared | _warnings(words.unlikely, fitted=read.fitted)
    )


def _written_side_by_side(read: ReadImages, query: PredictQuery, found: Sequence[BatchPrediction]) -> bytes:
    answers = [
        _prediction_fields(read, query, one.probabilities) | {"model": orjson.Fragment(one.served.described)}
        for one in found
    ]
    warnings = _warnings(input_warnings(read.images), fitted=read.fitted)
    return _dumped({"answers": answers, "read_as": _read_as_fragment(read)} | warnings)


def _prediction_fields(read: ReadImages, query: PredictQuery, probabilities: Floats) -> dict[str, Any]:
    """Return what one model says of the images: of one as it is, of a batch under `predictions`."""
    labels = probabilities.argmax(axis=1).tolist()
    each = [_prediction(read, query, index, labels[index], probabilities[index]) for index in range(len(labels))]
    return {"predictions": each} if read.batch else each[0]


def _prediction(read: ReadImages, query: PredictQuery, index: int, label: int, probabilities: Floats) -> dict[str, Any]:
    said: dict[str, Any] = {"label": label}
    if query.probabilities:
        said["probabilities"] = probabilities
    if query.top_k is not None:
        best = np.argsort(-probabilities, kind="stable")[: query.top_k]
        said["top"] = [{"label": int(digit), "probability": probabilities[digit]} for digit in best]
    if read.fitted:
        said |= {"inverted": read.inverted[index], "seen": read.images[index]}
    return said


@lru_cache
def _read_as(form: str, scale: str, fitted: bool) -> bytes:
    return orjson.dumps({"form": form, "scale": scale, "fitted": fitted})


def _read_as_fragment(read: ReadImages) -> orjson.Fragment:
    return orjson.Fragment(_read_as(read.form, read.scale, read.fitted))


def _warnings(kinds: Sequence[tuple[InputWarning, ...]], *, fitted: bool) -> dict[str, Any]:
    """Return warnings of images that are unlikely to be digits as trained, if there are any."""
    warnings = [
        {"index": index, "kind": kind, "detail": _warning_detail(kind, fitted=fitted)}
        for index, of_image in enumerate(kinds)
        for kind in of_image
    ]
    return {"warnings": warnings} if warnings else {}


def _warning_detail(kind: InputWarning, *, fitted: bool) -> str:
    text = f"This is unlikely to be a digit as the network was trained on: {WARNING_TEXT[kind]}."
    return text if fitted else f"{text} {HINT}"


def _dumped(answer: dict[str, Any]) -> bytes:
    return orjson.dumps(answer, option=WITH_NUMPY)
