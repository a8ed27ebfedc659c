"""Answers as objects, images as bodies, networks in torch, and what notebooks show."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest
import torch
from fanin import AsyncClient, Client, answers
from fanin.address import is_this_machine
from fanin.errors import ConnectionFailed
from fanin.html import comparison_html, diagnostics_html, experiment_html, job_html, prediction_html
from fanin.images import body_of, picture_of, png_of
from fanin.safetensors import tensors_in
from fanin.torch import load
from PIL import Image

from models.data.mnist import DataSet
from models.network.architecture import Architecture
from models.vocabulary import Activation, InputScaling
from tests.service.conftest import SMALL, Bench

HOSTILE = "<script>alert('x')</script>&\""


# -- records ---------------------------------------------------------------------------------------------


def test_an_answer_has_the_attributes_of_the_api_with_times_and_parts_as_objects() -> None:
    job = answers.Job(
        {
            "id": "job_1",
            "created_at": "2026-11-27T20:07:11.351003Z",
            "started_at": None,
            "spec": {"init": {"scheme": "he_normal"}, "optimizer": {"name": "sgd", "momentum": 0.9}},
            "error": {"type": "storage", "detail": "full", "hint": ""},
            "newer": {"deep": 1},
        }
    )
    assert job.created_at == dt.datetime(2026, 11, 27, 20, 7, 11, 351003, tzinfo=dt.timezone.utc)  # noqa: UP017 - 3.10
    assert (job.started_at, job.spec.init.scheme, job.spec.optimizer.name) == (None, "he_normal", "sgd")
    assert isinstance(job.spec.optimizer, answers.SGD)
    assert isinstance(job.error, answers.JobError)
    assert job.newer == {"deep": 1}
    assert "error" in dir(job)
    assert job == answers.Job(job.to_dict())
    assert job.experiment_id is None, "an attribute that may be null may be absent"
    with pytest.raises(AttributeError, match=r"has no 'state'\. It has: id, created_at"):
        _ = job.state
    assert "job_1" in repr(job)
    assert len(repr(answers.Job({"id": "x" * 10_000}))) < 200


# -- images ----------------------------------------------------------------------------------------------


def test_an_image_may_come_in_every_form_that_python_has_for_it(
    fanin: Client, bench: Bench, few: DataSet, tmp_path: Path
) -> None:
    model = fanin.jobs.get(bench.trained()).model()
    digit = few.test.images[0]
    file = tmp_path / "digit.png"
    Image.fromarray(digit).save(file)
    forms: dict[str, Any] = {
        "array": digit,
        "tensor": torch.tensor(digit),
        "shares": digit.astype(np.float32) / 255,
        "picture": Image.fromarray(digit),
        "path": file,
        "text": str(file),
        "file's bytes": file.read_bytes(),
        "raw bytes": digit.tobytes(),
        "lists": digit.tolist(),
        "rows of arrays": list(digit),
    }
    found = {name: model.predict(image) for name, image in forms.items()}
    labels = {one.label for one in found.values()}
    assert labels == {found["array"].label}
    for name, one in found.items():
        assert one.probabilities == pytest.approx(found["array"].probabilities, abs=1e-5), name
        assert one.probability == max(one.probabilities or [])
    batch = model.predict_batch(few.test.images[:7])
    assert (len(batch), batch.labels[0], batch[0].label) == (7, *[found["array"].label] * 2)
    assert [one.label for one in batch] == batch.labels
    assert np.array(batch.probabilities).shape == (7, 10)
    assert model.predict_batch(digit).labels == [found["array"].label]
    for several in ([file, str(file)], [file.read_bytes()] * 2, [Image.fromarray(digit)] * 2):
        assert model.predict_batch(several).labels == [found["array"].label] * 2
    assert str(found["array"]).startswith(f"{found['array'].label} (")
    names: list[Any] = [model, fanin.jobs.get(model.job_id), model.id]
    for named in names:
        assert fanin.predict(digit, named).label == found["array"].label
        assert fanin.ask(digit, [named]).answers[0].label == found["array"].label
        assert fanin.aliases.set("champion", named).model == model.checkpoint
    assert model.predict(digit[None]).label == found["array"].label
    with pytest.raises(ValueError, match="7 images; predict_batch"):
        model.predict(few.test.images[:7])
    assert fanin.ask(digit, [model.id, "latest"]).answers[1].label == found["array"].label
    assert fanin.models.classify(model.id, file)[0].label == str(found["array"].label)


def test_odd_pictures_and_tensors_become_bodies() -> None:
    for mode in ("CMYK", "YCbCr", "HSV", "F", "I", "PA", "LA", "P", "1"):
        assert body_of(Image.new("L", (28, 28)).convert(mode if mode != "PA" else "P")).media_type == "image/png"
    with_gradient = torch.zeros(28, 28, requires_grad=True)
    for image in (with_gradient, [with_gradient], torch.zeros(28, 28, dtype=torch.bfloat16)):
        assert body_of(image).media_type == "application/x-npy"
    rows = [[np.float32(0.5)] * 28] * 28
    assert body_of(rows).content == body_of([[0.5] * 28] * 28).content
    for wrong in ([np.zeros(3), np.zeros(4)], [["a"] * 28, object()]):
        with pytest.raises((TypeError, ValueError)):
            body_of(wrong)


def test_an_open_file_is_read_and_stays_open(tmp_path: Path) -> None:
    picture = png_of([[0] * 28] * 28)
    (tmp_path / "digit.png").write_bytes(picture)
    with (tmp_path / "digit.png").open("rb") as file:
        assert body_of(file).content == picture
        file.seek(0)
        assert file.read() == picture
    assert body_of(io.BytesIO(picture)).content == picture
    with pytest.raises(TypeError, match="open a picture with mode 'rb'"):
        body_of(io.StringIO("text"))


def test_a_list_is_of_one_kind_and_not_empty() -> None:
    with pytest.raises(TypeError, match=r"pictures .* or arrays, not both"):
        body_of([np.zeros((28, 28)), "digit.png"])
    with pytest.raises(ValueError, match="The list is empty"):
        body_of([])


@pytest.mark.parametrize("thing", [None, 3, object(), {"a": 1}])
def test_what_is_no_image_is_refused_before_it_is_sent(thing: Any) -> None:
    with pytest.raises(TypeError, match="is no image: send a path"):
        body_of(thing)


def test_an_own_png_is_read_as_it_was_written() -> None:
    rows = [[(row * 7 + column) % 256 for column in range(28)] for row in range(28)]
    assert np.asarray(Image.open(io.BytesIO(png_of(rows)))).tolist() == rows
    raw = bytes(value for row in rows for value in row)
    shown = picture_of(raw)
    assert shown is not None
    assert np.asarray(Image.open(io.BytesIO(shown))).tolist() == rows
    for same in (rows, np.array(rows, np.uint8), torch.tensor(rows) / 255):
        assert picture_of(same) == shown
    for other in ([[0] * 27] * 28, [], np.zeros((2, 28, 28)), [["a"] * 3], 3):
        assert picture_of(other) is None


@pytest.mark.parametrize(("name", "error"), [("", ValueError), (None, TypeError), (1.5, TypeError), (True, TypeError)])
def test_what_is_no_name_is_refused_before_it_is_sent(name: Any, error: type[Exception]) -> None:
    with Client() as client, pytest.raises(error, match="name"):
        client.jobs.get(name)


def test_no_proxy_of_the_environment_is_between_two_programs_of_one_machine(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Client(str(api.base_url)) as client:
        assert client.service.health()
    with Client("http://fanin.example", max_retries=0) as client, pytest.raises(ConnectionFailed):
        client.service.health()  # through the proxy, where nobody listens
    here = ("localhost", "127.0.0.1", "127.1.2.3", "[::1]")
    assert all(is_this_machine(f"http://{host}:8000") for host in here)
    assert not any(is_this_machine(f"http://{host}") for host in ("10.0.0.1", "127.example.org"))


# -- torch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "inputs"),
    [*((activation, "zero_to_one") for activation in get_args(Activation)), ("scaled_tanh", "standardized")],
)
def test_a_model_in_torch_says_what_the_service_says(
    activation: Activation, inputs: InputScaling, fanin: Client, bench: Bench, few: DataSet
) -> None:
    architecture = Architecture(hidden=(9, 7), activation=activation, inputs=inputs)
    spec = SMALL.model_copy(update={"architecture": architecture})
    model = fanin.jobs.get(bench.trained(spec)).model()
    network = load(model)
    shares = torch.tensor(few.test.images[:20]).float() / 255
    with torch.no_grad():
        found = torch.softmax(network(shares), dim=1).numpy()
    expected = np.array(model.predict_batch(few.test.images[:20]).probabilities)
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("damage", ["empty", "cut", "huge header", "other type"])
def test_a_file_that_is_not_whole_is_refused(damage: str, fanin: Client, bench: Bench) -> None:
    whole = fanin.models.weights(bench.trained())
    file = {
        "empty": b"",
        "cut": whole[:-4],
        "huge header": (2**40).to_bytes(8, "little") + whole[8:],
        "other type": whole.replace(b'"F32"', b'"F16"', 1),
    }[damage]
    with pytest.raises(ValueError, match=r"not a file of safetensors|not whole"):
        list(tensors_in(file))


# -- notebooks -------------------------------------------------------------------------------------------


def parsed(html: str) -> ET.Element:
    """Return HTML as a tree; it is well-formed, and has no script."""
    tree = ET.fromstring(
        f"<html>{html.replace('<br>', '<br/>')}</html>".replace("background:#000'>", "background:#000'/>")
    )
    assert not tree.findall(".//script")
    assert not [name for one in tree.iter() for name in one.attrib if name.startswith("on")]
    return tree


def test_a_notebook_shows_curves_tables_and_maps(fanin: Client, bench: Bench, few: DataSet) -> None:
    job = fanin.jobs.get(bench.trained())
    shown = parsed(job._repr_html_())
    assert [one.tag for one in shown.iter() if one.tag == "polyline"] == ["polyline"] * 2
    assert f"accuracy {job.accuracy:.2%}" in "".join(shown.itertext())
    records = job.diagnostics()
    cells = [one for one in parsed(records._repr_html_()).iter() if one.tag == "rect"]
    assert len(cells) == len(records) * len(records[0].layers)
    gradients = records.heat_map("dz_rms")
    assert len([one for one in parsed(gradients._repr_html_()).iter() if one.tag == "rect"]) == len(cells)
    assert gradients.values[0][0] == records[0].layers[0].dz_rms
    model = job.model()
    assert job.id in "".join(parsed(model._repr_html_()).itertext())
    answer = parsed(model.predict(few.test.images[0].tobytes())._repr_html_())
    assert len([one for one in answer.iter() if one.tag == "rect"]) == 10
    image = next(one for one in answer.iter() if one.tag == "img")
    assert image.attrib["src"].startswith("data:image/png;base64,")


def test_what_clients_have_written_is_shown_as_text() -> None:
    mean = {"mean": 0.9, "sd": 0.1, "low": 0.8, "high": 1.0}
    spec = {"init": {"scheme": HOSTILE}, "architecture": {"hidden": [8] * 9}, "epochs": 2, "seed": 1}
    job = {"id": "j", "name": HOSTILE, "state": "failed", "spec": spec, "epoch": 1, "error": {"detail": HOSTILE}}
    group = {"name": HOSTILE, "label": {}, "n": 2, "seeds": [0], "accuracy": mean}
    comparison = {"evaluated_on": HOSTILE, "n_images": 5, "groups": [group], "pairs": [{"verdict": HOSTILE}]}
    member = {"name": HOSTILE, "seed": 1, "state": "failed", "accuracy": None, "job_id": "j"}
    verdict: dict[str, Any] = {"holds": None, "measured": HOSTILE, "reason": None, "table": []}
    experiment = {"id": "e", "name": HOSTILE, "states": {"failed": 1}, "members": [member] * 60, "verdict": verdict}
    answer = {"label": 1, "probabilities": [0.1] * 10, "model": {"id": "m", "scheme": HOSTILE}}
    for html in (
        job_html(answers.JobWithMetrics(job)),
        comparison_html(answers.Comparison(comparison)),
        experiment_html(answers.Experiment(experiment)),
        prediction_html(answers.OneAnswer({**answer, "warnings": [{"detail": HOSTILE}]}), None),
    ):
        assert HOSTILE in "".join(parsed(html).itertext())


def test_values_that_cannot_be_drawn_are_left_blank() -> None:
    layer = {"a_rms": None}
    records = [
        answers.Diagnostics({"epoch": epoch, "verdict": "fine", "layers": [{"a_rms": value}, layer]})
        for epoch, value in enumerate([0.0, 1e-30, 5.0])
    ]
    cells = [one for one in parsed(diagnostics_html(records)).iter() if one.tag == "rect"]
    assert [cell.attrib["fill-opacity"] for cell in cells] == ["0.00", "0.10", "1.00", "0.00", "0.00", "0.00"]
    assert "No records" in diagnostics_html([])


# -- the asynchronous client -----------------------------------------------------------------------------


def test_the_asynchronous_client_does_the_same(api: httpx.Client, bench: Bench, few: DataSet, tmp_path: Path) -> None:
    job_id = bench.trained()

    async def everything() -> tuple[Any, ...]:
        async with AsyncClient(str(api.base_url)) as fanin:
            job = await fanin.jobs.get(job_id)
            job = await job.wait()
            model = await job.model()
            jobs = [one.id async for one in fanin.jobs.list()]
            events = [event.type async for event in job.events()]
            answer = await model.predict(few.test.images[0])
            file = await model.download(tmp_path / "w.npz")
            first = await fanin.models.list().first()
            return jobs, events[-1], answer.label, file.exists(), first.id if first else None

    label = answers.OneAnswer(api.post(f"/models/{job_id}/predict", content=few.test.images[0].tobytes()).json()).label
    assert asyncio.run(everything()) == ([job_id], "job.succeeded", label, True, job_id)
