"""The page's modules by themselves, in a real browser: numbers, addresses, commands, histories and streams."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.conftest import Service
from tests.web.browsing import visit

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def modules(browser: Browser, lab: Service) -> Iterator[Page]:
    with visit(browser, lab.base_url) as page:
        page.goto("/")
        yield page


def call(page: Page, module: str, function: str, *arguments: Any) -> Any:
    """Call a function that a module exports."""
    given = {"module": f"/web/{module}.js", "name": function, "arguments": arguments}
    return page.evaluate("async one => (await import(one.module))[one.name](...one.arguments)", given)


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        ("number", 0.98041, "0.980"),
        ("number", 2.3, "2.30"),
        ("number", 0, "0"),
        ("number", None, "–"),
        ("number", 1234.5, "1,235"),
        ("number", 0.0000123, "1.2 × 10⁻⁵"),
        ("number", -25000000.0, "-2.5 × 10⁷"),
        ("tick", 0.001, "0.001"),
        ("tick", 0.0001, "10⁻⁴"),
        ("tick", 0.00025, "2.5 × 10⁻⁴"),
        ("tick", 50, "50"),
        ("percent", 0.98045, "98.05 %"),
        ("percent", None, "–"),
        ("duration", 0.5, "0.5 s"),
        ("duration", 75, "1 min 15 s"),
        ("duration", 7260, "2 h 1 min"),
        ("duration", 119.7, "2 min 0 s"),
        ("duration", 59.8, "1 min 0 s"),
        ("bytes", 1079000, "1.1 MB"),
        ("layers", [256, 256], "784-256-256-10"),
        ("layers", [128] * 30, "784-30 × 128-10"),
        ("layers", [9, 8, 7, 6, 5], "784-9-8-7-6-5-10"),
        ("shortId", "job_01a20b6507307f2dac4975e582124723@3", "…124723@3"),
    ],
)
def test_numbers_and_names_are_written_for_people(modules: Page, function: str, value: Any, expected: str) -> None:
    assert call(modules, "lib/format", function, value) == expected


def test_an_address_leaves_out_what_is_empty_and_keeps_commas(modules: Page) -> None:
    made = call(modules, "lib/address", "link", "try", {"models": "a,b", "fit": None, "digit": "", "note": "x&y"})
    assert made == "#/try?models=a,b&note=x%26y"


def test_a_command_survives_the_shell_whatever_is_in_it(modules: Page, lab: Service) -> None:
    body = {"base": {"note": 'it\'s $HOME `x` \\ "q"'}}
    command = call(modules, "lib/curl", "curlOf", {"method": "POST", "path": "/experiments", "body": body})
    words = shlex.split(command)
    assert words[0] == "curl"
    assert json.loads(words[words.index("-d") + 1]) == body
    assert words[-1] == f"{lab.base_url}/experiments"
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert json.loads(answer)["status"] == 422


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"path": "/jobs"}, "curl -sS"),
        ({"path": "/jobs/a", "method": "DELETE"}, "curl -sS -X DELETE"),
        ({"path": "/predict", "method": "POST", "file": "digit.png"}, "curl -sS --data-binary @digit.png"),
        ({"path": "/events", "accept": "text/event-stream"}, "curl -sS -H 'Accept: text/event-stream' -N"),
    ],
)
def test_a_command_says_what_curl_would_not_do_by_itself(
    modules: Page, lab: Service, request_: dict[str, Any], expected: str
) -> None:
    made = call(modules, "lib/curl", "curlOf", request_)
    assert made == f"{expected} '{lab.base_url}{request_['path']}'"


def test_specs_are_named_by_their_scheme_and_what_tells_them_apart(modules: Page) -> None:
    relu = {"architecture": {"hidden": [32], "activation": "relu"}, "init": {"scheme": "he_normal"}, "seed": 0}
    sigmoid = {"architecture": {"hidden": [32], "activation": "sigmoid"}, "init": {"scheme": "he_normal"}, "seed": 1}
    deep = {"architecture": {"hidden": [8] * 3, "activation": "relu"}, "init": {"scheme": "xavier_uniform", "gain": 2}}
    assert call(modules, "lib/spec_labels", "namesOf", [relu, sigmoid]) == [
        "he_normal, activation relu",
        "he_normal, activation sigmoid",
    ]
    assert call(modules, "lib/spec_labels", "namesOf", [relu, relu | {"seed": 5}]) == ["he_normal", "he_normal"]
    named = call(modules, "lib/spec_labels", "namesOf", [relu, deep])
    assert named == ["he_normal, hidden 1 x 32", "xavier_uniform, hidden 3 x 8, gain 2"]


def history_after(page: Page, *events: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of job `a` after events."""
    found: dict[str, Any] = page.evaluate(
        "async events => { const {newHistory, take} = await import('/web/lib/job_timeline.js');"
        "const all = newHistory([{id: 'a', state: 'queued'}]);"
        "for (const event of events) take(all, event); return all.get('a'); }",
        [{"job_id": "a", "data": {}} | event for event in events],
    )
    return found


def epoch(number: int, loss: float = 0.5) -> dict[str, Any]:
    return {"type": "job.epoch", "data": {"epoch": number, "train_loss_mean": loss}}


def test_epochs_after_a_damaged_or_discarded_checkpoint_are_forgotten_until_they_are_trained_again(
    modules: Page,
) -> None:
    for kind in ("job.checkpoint_damaged", "job.checkpoint_discarded"):
        lost = {"type": kind, "data": {"seq": 2, "epoch": 2}}
        found = history_after(modules, epoch(1), epoch(2), epoch(3), lost)
        assert [one["epoch"] for one in found["epochs"]] == [1]
        found = history_after(modules, epoch(1), epoch(2), lost, epoch(2, 0.25))
        assert [one["train_loss_mean"] for one in found["epochs"]] == [0.5, 0.25]


def test_a_retried_job_runs_without_its_old_error(modules: Page) -> None:
    failed = {
        "type": "job.failed",
        "data": {"error": {"detail": "The loss is not finite.", "hint": "Use a smaller lr."}},
    }
    assert history_after(modules, failed)["error"]["hint"] == "Use a smaller lr."
    again = history_after(modules, failed, {"type": "job.queued"}, {"type": "job.running", "data": {"attempt": 2}})
    assert (again["state"], again["error"], again["attempt"]) == ("running", None, 2)


def test_events_of_other_jobs_are_left_alone(modules: Page) -> None:
    assert history_after(modules, {"type": "job.succeeded", "job_id": "b"})["state"] == "queued"


def test_a_curve_is_the_mean_of_its_seeds_between_the_lowest_and_the_highest(modules: Page) -> None:
    found = modules.evaluate(
        "async () => { const {newHistory, take, curvesOf} = await import('/web/lib/job_timeline.js');"
        "const all = newHistory(['a', 'b', 'c'].map(id => ({id, state: 'queued'})));"
        "for (const [job_id, epoch, x] of [['a', 1, 1], ['b', 1, 3], ['a', 2, 5], ['c', 1, 9]])"
        "take(all, {job_id, type: 'job.epoch', data: {epoch, x}});"
        "const members = [['a', 'he'], ['b', 'he'], ['c', 'zeros']].map(([job_id, name]) => ({job_id, name}));"
        "return curvesOf(all, members, job => job.epochs.map(one => [one.epoch, one.x])); }"
    )
    assert found == [
        {"name": "he", "epochs": [1, 2], "mean": [2, 5], "low": [1, 5], "high": [3, 5], "seeds": 2},
        {"name": "zeros", "epochs": [1], "mean": [9], "low": [9], "high": [9], "seeds": 1},
    ]


def followed(page: Page, answers: list[list[list[int]] | None]) -> dict[str, Any]:
    """Follow a stream that answers with these pieces of bytes, one answer after another; None is 204."""
    found: dict[str, Any] = page.evaluate(
        "async answers => { const {follow} = await import('/web/lib/stream.js');"
        "const events = [], states = [], since = [];"
        "const open = async lastId => { since.push(lastId); const pieces = answers.shift();"
        "if (pieces === undefined) throw new TypeError('away');"
        "if (pieces === null) return {status: 204};"
        "return {status: 200, body: new ReadableStream({start(c) {"
        "for (const one of pieces) c.enqueue(new Uint8Array(one)); c.close(); }})}; };"
        "await follow(open, {onEvents: all => events.push(...all), onState: one => states.push(one),"
        "signal: new AbortController().signal}); return {events, states, since}; }",
        answers,
    )
    return found


def test_a_stream_is_read_wherever_its_pieces_are_cut_and_goes_on_after_the_last_event(modules: Page) -> None:
    text = 'retry: 2000\nid: 7\nevent: job.queued\ndata: {"id":7,"name":"…é"}\n\n'
    text += ': hb\nid: 8\ndata: {"id":8,"name":"x"}\n\n'
    raw = list(text.encode())
    for cut in range(1, len(raw)):
        found = followed(modules, [[raw[:cut], raw[cut:]], None])
        assert [one["id"] for one in found["events"]] == [7, 8]
        assert found["events"][0]["name"] == "…é"
    assert found["since"] == [None, 8]
    assert found["states"] == ["live", "ended"]


def test_a_tensor_is_read_out_of_the_weights_without_fetching_the_rest(
    modules: Page, lab: Service, experiment: dict[str, Any]
) -> None:
    from safetensors.numpy import load

    job_id = experiment["members"][-1]["job_id"]
    expected = load(lab.client.get(f"/models/{job_id}/weights").content)["layers.2.weight"]
    found = modules.evaluate(
        "async id => { const {tensorOf} = await import('/web/lib/safetensors.js');"
        "const {shape, values} = await tensorOf(id, 'layers.2.weight'); return {shape, values: [...values]}; }",
        job_id,
    )
    assert found["shape"] == list(expected.shape)
    assert found["values"] == expected.ravel().tolist()
