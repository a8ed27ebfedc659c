"""The quick route of predictions: the same answers and errors as the documented operation, in every form."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from models.checkpoint import decode
from models.data.mnist import DataSet
from service.app import create_app, guarded
from service.inference.model_resolver import ModelResolver, ResolvedModel
from service.inference.pictures import encode_png
from service.settings import Settings
from service.store.aliases import set_alias
from tests.service.conftest import SMALL, Api, Bench, problem


@pytest.fixture
def job_id(bench: Bench) -> str:
    return bench.trained()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_it_answers_what_the_documented_operation_answers(
    job_id: str, few: DataSet, api: httpx.Client, settings: Settings
) -> None:
    image, batch = few.test.images[0], few.test.images[:3]
    requests: list[dict[str, Any]] = [
        {"content": image.tobytes(), "headers": {"Content-Type": "application/octet-stream"}},
        {"content": image.tobytes()},
        {"content": batch.tobytes(), "params": {"shape": "3,28,28"}},
        {"content": batch.tobytes()},
        {"content": encode_png(image)},
        {"content": (255 - image).tobytes()},
        {"json": {"pixels": image.tolist()}, "params": {"top_k": 3, "probabilities": "false"}},
        {"content": image.tobytes(), "params": {"fit": "true"}},
        {"content": image.tobytes(), "params": {"models": f"{job_id}@0,{job_id}"}},
        {"content": b"x" * 10},
        {"content": b""},
        {"content": image.tobytes(), "params": {"top_k": 11}},
        {"content": image.tobytes(), "params": {"top_k": 0}},
        {"content": image.tobytes(), "params": {"modle": "latest"}},
        {"content": image.tobytes(), "params": {"model": "none"}},
    ]
    with Api(settings, lambda of: guarded(create_app(of), of)) as documented:
        for request in requests:
            quick, slow = (client.post("/predict", **request) for client in (api, documented))
            assert (quick.status_code, quick.json()) == (slow.status_code, slow.json())
            assert quick.headers["content-type"] == slow.headers["content-type"]
            assert quick.headers["x-content-type-options"] == "nosniff"


def test_answers_come_as_raw_floats_or_npy_where_asked(job_id: str, few: DataSet, api: httpx.Client) -> None:
    content = few.test.images[:40].tobytes()
    expected = [
        one["probabilities"] for one in api.post("/predict?shape=40,784", content=content).json()["predictions"]
    ]
    raw = api.post("/predict?shape=40,28,28", content=content, headers={"Accept": "application/octet-stream"})
    np.testing.assert_allclose(np.frombuffer(raw.content, "<f4").reshape(40, 10), expected, atol=1e-7)
    assert raw.headers["x-model"] == f"{job_id}@2"
    as_npy = api.post("/predict?shape=40,28,28", content=content, headers={"Accept": "application/x-npy"})
    np.testing.assert_allclose(np.load(io.BytesIO(as_npy.content)), expected, atol=1e-7)


@pytest.mark.parametrize("told", ["GET /healthz", "PUT /aliases/champion", "an error"])
def test_who_is_told_anything_is_answered_by_what_was_there_then(
    told: str, job_id: str, bench: Bench, few: DataSet, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def epoch() -> int:
        answer = api.post("/predict?model=champion", content=few.test.images[0].tobytes())
        return int(answer.headers["x-model"].partition("@")[2])

    monkeypatch.setattr(ModelResolver, "cached", trusting(ModelResolver.cached))
    set_alias(bench.engine, "champion", f"{job_id}@1", None)
    assert epoch() == 1
    if told != "PUT /aliases/champion":
        set_alias(bench.engine, "champion", f"{job_id}@2", None)
        assert epoch() == 1
    match told:
        case "GET /healthz":
            assert api.get("/healthz").status_code == 200
        case "PUT /aliases/champion":
            assert api.put("/aliases/champion", json={"model": f"{job_id}@2"}).status_code == 200
        case _:
            assert api.get("/jobs/none").status_code == 404
    assert epoch() == 2


def trusting(
    cached: Callable[[ModelResolver, str], ResolvedModel | None],
) -> Callable[[ModelResolver, str], ResolvedModel | None]:
    """Return a `cached` that trusts each read of the counter for an hour."""

    def for_an_hour(self: ModelResolver, name: str) -> ResolvedModel | None:
        self._trust_s = 3600
        return cached(self, name)

    return for_an_hour


def test_one_model_is_named_in_the_path_or_the_query(job_id: str, few: DataSet, api: httpx.Client) -> None:
    content = few.test.images[0].tobytes()
    by_path = api.post(f"/models/{job_id}@1/predict", content=content).json()
    assert by_path == api.post(f"/predict?model={job_id}@1", content=content).json()
    assert by_path["model"]["id"] == f"{job_id}@1"
    assert api.post(f"/models/{job_id}%401/predict", content=content).json() == by_path


def test_a_network_that_is_unsure_says_nothing_about_the_picture_if_another_is_sure(
    bench: Bench, job_id: str, few: DataSet, api: httpx.Client
) -> None:
    sure = bench.trained(SMALL.model_copy(update={"epochs": 30}))
    buffer = io.BytesIO()
    digit = max(few.train.images[:50], key=lambda one: float(one.mean()))
    Image.fromarray(np.kron(digit, np.ones((8, 8), np.uint8))).save(buffer, "PNG")
    content = buffer.getvalue()

    def kinds(models: str) -> set[str]:
        answer = api.post(f"/predict?fit=true&models={models}", content=content).raise_for_status().json()
        return {one["kind"] for one in answer.get("warnings", [])}

    assert "unsure" in kinds(f"{job_id}@0,{job_id}@0")
    assert "unsure" not in kinds(sure)
    assert "unsure" not in kinds(f"{sure},{job_id}@0")


def test_several_models_answer_side_by_side(job_id: str, few: DataSet, api: httpx.Client) -> None:
    content = few.test.images[0].tobytes()
    answers = api.post(f"/predict?models={job_id}@0,latest", content=content).json()["answers"]
    assert [one["model"]["id"] for one in answers] == [f"{job_id}@0", f"{job_id}@2"]
    assert (
        answers[0]["probabilities"] == api.post(f"/predict?model={job_id}@0", content=content).json()["probabilities"]
    )
    problem(api.post(f"/predict?models={job_id},none", content=content), 404, "not-found")
    assert api.post("/predict?models=" + ",".join(["latest"] * 17), content=content).status_code == 422
    asked = api.post(f"/predict?models={job_id},latest", content=content, headers={"Accept": "application/x-npy"})
    problem(asked, 422, "invalid-image")


def test_top_k_and_probabilities(job_id: str, few: DataSet, api: httpx.Client) -> None:
    content = few.test.images[0].tobytes()
    whole = api.post("/predict", content=content).json()
    short = api.post("/predict?top_k=2&probabilities=false", content=content).json()
    assert "probabilities" not in short
    assert short["top"][0] == {"label": whole["label"], "probability": max(whole["probabilities"])}
    assert len(short["top"]) == 2


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda image: image * 0, "blank"),
        (lambda image: 255 - image, "dark_on_light"),
        (lambda image: np.roll(image, 6, axis=1), "off_centre"),
        (lambda image: image ^ np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8), "noise"),
    ],
)
def test_images_that_are_unlikely_digits_are_warned_of(
    change: Any, kind: str, job_id: str, few: DataSet, api: httpx.Client
) -> None:
    image = few.test.images[0]
    assert "warnings" not in api.post("/predict", content=image.tobytes()).json()
    (warning, *_) = api.post("/predict", content=change(image).tobytes()).json()["warnings"]
    assert (warning["index"], warning["kind"]) == (0, kind)
    assert "?fit=true" in warning["detail"]
    batch = np.stack([image, change(image)])
    assert {one["index"] for one in api.post("/predict", content=npy(batch)).json()["warnings"]} == {1}


def test_fit_corrects_what_is_warned_of(job_id: str, few: DataSet, api: httpx.Client) -> None:
    image = few.test.images[0]
    for changed in (255 - image, np.roll(image, 4, axis=1)):
        answer = api.post("/predict?fit=true", content=encode_png(changed)).json()
        assert [one["kind"] for one in answer.get("warnings", [])] == ["unsure"]  # the model has hardly learned


@pytest.mark.parametrize(
    "array",
    [lambda x: x, lambda x: x[0], lambda x: x[:, None], lambda x: x.reshape(3, 784), lambda x: (x / 255).astype("f4")],
    ids=["n28x28", "28x28", "n1x28x28", "n784", "float32"],
)
def test_npy_is_read(array: Any, job_id: str, few: DataSet, api: httpx.Client) -> None:
    images = few.test.images[:3]
    found = api.post("/predict", content=npy(array(images))).json()
    expected = api.post(f"/predict?shape={len(images)},28,28", content=images.tobytes()).json()["predictions"]
    labels = [one["label"] for one in found.get("predictions", [found])]
    assert labels == [one["label"] for one in expected][: len(labels)]
    assert found["read_as"]["form"] == "npy"


@pytest.mark.parametrize(
    "content",
    [
        npy(np.array([{"a": 1}], dtype=object)),
        npy(np.full((28, 28), np.nan)),
        npy(np.zeros((28, 27), np.uint8)),
        npy(np.zeros((0, 28, 28), np.uint8)),
        npy(np.zeros((28, 28), np.uint8))[:-1],
        npy(np.zeros((28, 28), np.uint8)) + b"x",
        npy(np.zeros((28, 28), np.uint8)).replace(b"(28, 28)", b"(28, 9999999999)")[:500],
        b"\x93NUMPY",
        npy(np.array(["x"] * 784)),
    ],
    ids=["pickled", "nan", "shape", "empty", "short", "long", "huge", "bare", "text"],
)
def test_a_wrong_npy_is_refused(content: bytes, job_id: str, api: httpx.Client) -> None:
    problem(api.post("/predict", content=content), 422, "invalid-image")


def test_base64_is_read(job_id: str, few: DataSet, api: httpx.Client) -> None:
    image = few.test.images[0]
    text = base64.b64encode(encode_png(image)).decode()
    expected = api.post("/predict", content=image.tobytes()).json()["label"]
    for value in (text, f"data:image/png;base64,{text}", base64.b64encode(image.tobytes()).decode()):
        assert api.post("/predict", json={"image": value}).json()["label"] == expected
    problem(api.post("/predict", json={"image": "%%%"}), 422, "invalid-image")


def test_the_key_is_asked_for_before_anything_else(settings: Settings, bench: Bench, few: DataSet) -> None:
    job_id = bench.trained()
    with Api(settings.model_copy(update={"api_key": SecretStr("a secret of a test")})) as client:
        content = few.test.images[0].tobytes()
        for path in ("/predict", f"/models/{job_id}/predict"):
            refused = client.post(path, content=content)
            assert refused.headers["www-authenticate"] == "Bearer"
            problem(refused, 401, "not-authenticated")
            assert (
                client.post(path, content=content, headers={"Authorization": "Bearer a secret of a test"}).status_code
                == 200
            )


def test_a_body_over_the_limit_is_refused_whether_declared_or_not(settings: Settings, bench: Bench) -> None:
    bench.trained()
    with Api(settings.model_copy(update={"max_body_bytes": 2000})) as client:
        problem(client.post("/predict", content=bytes(784 * 3)), 413, "body-too-large")
        problem(client.post("/predict", content=iter([bytes(784)] * 3)), 413, "body-too-large")
        assert client.post("/predict?shape=2,784", content=iter([bytes(784)] * 2)).status_code == 200


def test_hub_clients_get_labels_with_scores(job_id: str, few: DataSet, api: httpx.Client) -> None:
    image = few.test.images[0]
    expected = api.post("/predict", content=image.tobytes()).json()
    found = api.post(f"/models/{job_id}/classify", content=encode_png(image)).json()
    assert found[0] == {"label": str(expected["label"]), "score": pytest.approx(max(expected["probabilities"]))}
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    assert len(found) == 5
    body = {"inputs": base64.b64encode(encode_png(image)).decode(), "parameters": {"top_k": 2}}
    assert api.post(f"/models/{job_id}/classify", json=body).json() == found[:2]
    large = encode_png(np.kron(image, np.ones((4, 4), np.uint8)))
    assert len(api.post(f"/models/{job_id}/classify", content=large).json()) == 5
    assert api.post(f"/models/{job_id}/classify", json={"inputs": 7}).status_code == 422
    problem(api.post(f"/models/{job_id}/classify", content=b"{x"), 400, "malformed-body")
    problem(api.post(f"/models/{job_id}/classify", content=encode_png(image)[:50]), 422, "invalid-image")


def test_mistakes_are_listed_with_their_pictures(
    job_id: str, few: DataSet, five_thousand: DataSet, api: httpx.Client
) -> None:
    images = five_thousand.test.images
    answers = [one["label"] for one in api.post("/predict", content=npy(images)).json()["predictions"]]
    wrong = [index for index, answer in enumerate(answers) if answer != five_thousand.test.labels[index]]
    seen: list[dict[str, Any]] = []
    path: str | None = f"/models/{job_id}/mistakes?limit=100"
    while path:
        page = api.get(path)
        seen += page.json()["data"]
        path = page.links["next"]["url"] if "next" in page.links else None
    assert [one["index"] for one in seen] == wrong
    first = seen[0]
    assert (first["label"], first["answer"]) == (five_thousand.test.labels[wrong[0]], answers[wrong[0]])
    picture = base64.b64decode(first["image"].removeprefix("data:image/png;base64,"))
    assert api.post(f"/models/{job_id}/predict", content=picture).json()["label"] == first["answer"]
    cell = api.get(f"/models/{job_id}/mistakes?label={first['label']}&answer={first['answer']}&limit=100").json()[
        "data"
    ]
    assert cell == [one for one in seen if (one["label"], one["answer"]) == (first["label"], first["answer"])][:100]


# -- weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["safetensors", "npz", "onnx"])
def test_weights_are_downloaded_whole_in_parts_or_not_at_all(form: str, job_id: str, api: httpx.Client) -> None:
    url = f"/models/{job_id}/weights?format={form}"
    whole = api.get(url)
    digest = hashlib.sha256(whole.content).digest()
    assert whole.headers["etag"] == f'"{digest.hex()}"'
    assert whole.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert f"{job_id}-2.{form}" in whole.headers["content-disposition"]
    assert api.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    size = len(whole.content)
    for asked, first, last in [("0-9", 0, 9), ("-10", size - 10, size - 1), (f"{size - 3}-", size - 3, size - 1)]:
        part = api.get(url, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, whole.content[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    outside = api.get(url, headers={"Range": f"bytes={size}-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=0-1,5-6", "lines=1-2", "bytes=x"):
        assert api.get(url, headers={"Range": ignored}).content == whole.content
    changed = api.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole.content)


def test_the_downloaded_safetensors_are_the_checkpoint(job_id: str, api: httpx.Client) -> None:
    checkpoint = decode(api.get(f"/models/{job_id}/weights").content)
    assert checkpoint.metadata.spec == SMALL
    assert checkpoint.metadata.weights_sha256 == api.get(f"/models/{job_id}").json()["weights_sha256"]
    problem(api.get("/models/none/weights"), 404, "not-found")
    assert api.get(f"/models/{job_id}/weights?format=pickle").status_code == 422
