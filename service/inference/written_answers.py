"""Write the response to a prediction: as JSON, raw float32 or .npy, with what may be wrong with it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson

from models.errors import InvalidImage
from models.inference.compiled_forward import Floats
from models.inference.fitted_digit import SIDE, FitDoubt
from models.inference.input_checks import WARNING_TEXT, InputWarning, input_warnings
from service.http.accept import chosen
from service.inference.batching import SMALL_BATCH, WITH_NUMPY, BatchPrediction, JsonFragments, MicroBatcher
from service.inference.images import ReadImages
from service.inference.query import PredictQuery

LABELS = [str(digit).encode() for digit in range(10)]
HINT = "Add ?fit=true to have the digit found, scaled, centred and, if necessary, inverted, as in MNIST."
SURE, SURE_OF_CLEANED = 0.6, 0.9
OF_DOUBT: dict[FitDoubt, InputWarning] = {
    "several_digits": "several_digits",
    "cut_off": "cut_off",
    "tiny": "too_small",
}
MAX_WARNINGS_IN_HEADER = 100

Form = Literal["json", "raw", "npy"]
MEDIA_TYPES: dict[Form, str] = {
    "json": "application/json",
    "raw": "application/octet-stream",
    "npy": "application/x-npy",
}
OFFERS = tuple(MEDIA_TYPES.values())
FORMS: dict[str, Form] = {media_type: form for form, media_type in MEDIA_TYPES.items()}


class Answer(NamedTuple):
    """The content of a response, its media type, the model as JOB@EPOCH (empty if several answered), and X-Warnings."""

    content: bytes
    media_type: str
    model: str
    warnings: str


async def answer(answering: MicroBatcher, read: ReadImages, query: PredictQuery, accept: str) -> Answer:
    """Predict with the models of the query, and return the response in the format that `accept` requests."""
    form = form_of(accept)
    if query.models is None:
        result = await answering.predicted(query.model, read.images)
        if len(read.images) > SMALL_BATCH:
            return await asyncio.to_thread(_written, read, query, form, result)
        return _written(read, query, form, result)
    if form != "json":
        raise InvalidImage("Several models answer only in JSON.", "Request application/json, or a single model.")
    results = await asyncio.gather(*(answering.predicted(name, read.images) for name in query.names()))
    content = await asyncio.to_thread(_written_side_by_side, read, query, results)
    return Answer(content, MEDIA_TYPES["json"], "", "")


def form_of(accept: str) -> Form:
    """Return the format that an Accept header requests: JSON, raw float32, or .npy."""
    return "json" if not accept else FORMS[chosen(accept, OFFERS)]


def _written(read: ReadImages, query: PredictQuery, form: Form, result: BatchPrediction) -> Answer:
    if form != "json":
        content = _as_npy(result.probabilities) if form == "npy" else _as_floats(result.probabilities)
        warnings = warnings_of(read, result.probabilities, input_warnings(read.images))
        return Answer(content, MEDIA_TYPES[form], result.served.id, warning_header(warnings))
    words = result.words or JsonFragments.of(read.images, result.probabilities)
    if query.is_plain and not read.batch and not read.fitted and not read.clipped and not words.unlikely[0]:
        # The most frequent case: the same JSON as below, joined from parts that exist already.
        parts = b'{"label":', LABELS[words.labels[0]], b',"probabilities":[', words.numbers[0], b'],"model":'
        content = b"".join((*parts, result.served.described, b',"read_as":', _read_as(read.form, read.scale), b"}\n"))
        return Answer(content, MEDIA_TYPES[form], result.served.id, "")
    shared = {"model": orjson.Fragment(result.served.described), "read_as": _read_as_fragment(read)}
    told = _warnings(warnings_of(read, result.probabilities, words.unlikely), fitted=read.fitted)
    content = _dumped(_prediction_fields(read, query, result.probabilities) | shared | told)
    return Answer(content, MEDIA_TYPES[form], result.served.id, "")


def _as_floats(probabilities: Floats) -> bytes:
    return probabilities.astype("<f4", copy=False).tobytes()


def _as_npy(probabilities: Floats) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, probabilities, allow_pickle=False)
    return buffer.getvalue()


def _written_side_by_side(read: ReadImages, query: PredictQuery, results: Sequence[BatchPrediction]) -> bytes:
    answers = [
        _prediction_fields(read, query, result.probabilities) | {"model": orjson.Fragment(result.served.described)}
        for result in results
    ]
    unlikely = input_warnings(read.images)
    of_each = [warnings_of(read, result.probabilities, unlikely) for result in results]
    # The doubt of one network says nothing about the picture if another one is sure.
    together = [
        tuple(
            kind
            for kind in dict.fromkeys(kind for kinds in image for kind in kinds)
            if kind != "unsure" or all(kind in kinds for kinds in image)
        )
        for image in zip(*of_each, strict=True)
    ]
    warnings = _warnings(together, fitted=read.fitted)
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
def _read_as(form: str, scale: str, fitted: bool = False, clipped: bool = False) -> bytes:
    return orjson.dumps({"form": form, "scale": scale, "fitted": fitted} | ({"clipped": True} if clipped else {}))


def _read_as_fragment(read: ReadImages) -> orjson.Fragment:
    return orjson.Fragment(_read_as(read.form, read.scale, read.fitted, read.clipped))


def warnings_of(
    read: ReadImages, probabilities: Floats, unlikely: Sequence[tuple[InputWarning, ...]]
) -> list[tuple[InputWarning, ...]]:
    """Return for each image why its prediction may be wrong.

    `unlikely` are the `input_warnings` of the images as the network got them. For fitted images there is in addition
    what was seen in the picture, and whether the model is unsure: below `SURE`, or `SURE_OF_CLEANED` if the picture had
    to be cleaned.
    """
    if not read.fitted:
        return list(unlikely)
    found: list[tuple[InputWarning, ...]] = []
    for kinds, doubts, most in zip(unlikely, read.doubts, probabilities.max(axis=1).tolist(), strict=True):
        seen = kinds + tuple(OF_DOUBT[doubt] for doubt in doubts if doubt in OF_DOUBT)
        is_unsure = most < (SURE_OF_CLEANED if "cleaned" in doubts else SURE)
        found.append((*dict.fromkeys(seen), "unsure") if is_unsure else tuple(dict.fromkeys(seen)))
    return found


def warnings_of_inputs(inputs: Floats) -> str:
    """Return the header X-Warnings for inputs float32 [n, 784] in [0, 1] that were not fitted."""
    return warning_header(input_warnings(np.rint(inputs * 255).astype(np.uint8).reshape(-1, SIDE, SIDE)))


def warning_header(warnings: Sequence[tuple[InputWarning, ...]]) -> str:
    """Return the header X-Warnings for answers that have no place for warnings: `0:blank, 3:off_centre`, or empty."""
    named = (f"{index}:{kind}" for index, kinds in enumerate(warnings) for kind in kinds)
    return ", ".join(islice(named, MAX_WARNINGS_IN_HEADER))


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
