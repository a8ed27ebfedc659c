"""What may be wrong with an answer reaches every door."""

from __future__ import annotations

import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from models.data.mnist import DataSet
from service.inference.images import ReadImages
from service.inference.pictures import encode_png
from service.inference.written_answers import SURE, SURE_OF_CLEANED, warning_header, warnings_of
from tests.service.conftest import Bench


def probabilities(most: float) -> np.ndarray:
    return np.array([[most, *[(1 - most) / 9] * 9]], np.float32)


@pytest.mark.parametrize(
    ("doubts", "most", "expected"),
    [
        ((), 0.99, ()),
        ((), SURE - 0.01, ("unsure",)),
        (("cleaned",), 0.99, ()),
        (("cleaned",), SURE_OF_CLEANED - 0.01, ("unsure",)),
        (("several_digits", "cut_off"), 0.99, ("several_digits", "cut_off")),
        (("tiny",), 0.99, ("too_small",)),
    ],
)
def test_a_fitted_picture_is_doubted_for_what_was_seen_in_it(
    doubts: tuple[str, ...], most: float, expected: tuple[str, ...]
) -> None:
    read = ReadImages(np.zeros((1, 28, 28), np.uint8), "png", fitted=True, inverted=(False,), doubts=(doubts,))  # type: ignore[arg-type]
    assert warnings_of(read, probabilities(most), [()]) == [expected]


def test_the_header_names_images_and_kinds_and_has_an_end() -> None:
    assert warning_header([(), ("blank",), ("off_centre", "noise")]) == "1:blank, 2:off_centre, 2:noise"
    assert warning_header([()]) == ""
    assert len(warning_header([("fills_the_frame",)] * 10_000)) < 8000


def test_warnings_reach_every_door(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    job_id = bench.trained()
    dark = 255 - few.test.images[0]
    raw = api.post("/predict", content=dark.tobytes(), headers={"Accept": "application/octet-stream"})
    assert raw.headers["x-warnings"] == "0:dark_on_light"
    (told,) = api.post("/predict", content=encode_png(dark)).json()["warnings"]
    assert told["kind"] == "dark_on_light"
    several = api.post(f"/predict?models={job_id},latest", content=dark.tobytes()).json()
    assert [one["kind"] for one in several["warnings"]] == ["dark_on_light"]
    tensor = {"name": "images", "shape": [1, 784], "datatype": "UINT8", "data": dark.ravel().tolist()}
    inferred = api.post(f"/v2/models/{job_id}/infer", json={"inputs": [tensor]})
    assert inferred.headers["x-warnings"] == "0:dark_on_light"
    assert "x-warnings" not in api.post("/predict", content=few.test.images[0].tobytes()).headers


def test_a_small_or_faint_digit_is_warned_of_without_fit(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    bench.trained()
    small = np.zeros((28, 28), np.uint8)
    small[9:19, 9:19] = np.asarray(Image.fromarray(few.test.images[0]).resize((10, 10), Image.Resampling.BOX))
    for image, kind in ((small, "too_small"), (few.test.images[0] // 4, "faint")):
        kinds = [one["kind"] for one in api.post("/predict", content=image.tobytes()).json()["warnings"]]
        assert kind in kinds


def classified(api: httpx.Client, **request: object) -> httpx.Response:
    response = api.post("/models/best/classify", **request)  # type: ignore[arg-type]
    assert response.status_code == 200, response.text
    return response


def test_classify_reads_black_ink_over_transparency_as_it_reads_the_digit(
    bench: Bench, api: httpx.Client, few: DataSet
) -> None:
    bench.trained()
    digit = few.test.images[0]
    over = io.BytesIO()
    Image.fromarray(np.dstack([digit * 0] * 3 + [digit]), "RGBA").save(over, "PNG")
    expected = classified(api, content=encode_png(digit)).json()
    for request in (
        {"content": over.getvalue()},
        {"files": {"inputs": ("digit.png", over.getvalue(), "image/png")}},
    ):
        found = classified(api, **request).json()
        assert [one["label"] for one in found] == [one["label"] for one in expected]


def test_classify_cuts_top_k_and_refuses_what_it_does_not_do(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    bench.trained()
    inputs = base64.b64encode(encode_png(few.test.images[0])).decode()
    assert len(classified(api, json={"inputs": inputs, "parameters": {"top_k": 50}}).json()) == 10
    assert len(classified(api, json={"inputs": inputs, "parameters": None}).json()) == 5
    wanted = {"inputs": inputs, "parameters": {"function_to_apply": "sigmoid"}}
    refused = api.post("/models/best/classify", json=wanted)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "#/parameters/function_to_apply"
    assert api.post("/models/best/classify", content=few.test.images[:2].tobytes()).status_code == 422


def test_a_form_to_classify_may_have_top_k_and_nothing_else(bench: Bench, api: httpx.Client, few: DataSet) -> None:
    bench.trained()
    files = {"inputs": ("digit.png", encode_png(few.test.images[0]), "image/png")}
    assert len(classified(api, files=files, data={"top_k": "2"}).json()) == 2
    refused = api.post("/models/best/classify", files=files, data={"topk": "2"})
    assert refused.json()["errors"][0]["pointer"] == "#/topk"
