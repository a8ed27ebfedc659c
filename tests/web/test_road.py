"""The page as a student uses it: start schemes, watch them part ways, and read what came of them."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from benchmarks.machines import wait_until
from tests.e2e.conftest import Service, long, wait_for_state
from tests.web.browsing import TRAINED_MS, overlapping_charts, points, settle, visit

pytestmark = pytest.mark.e2e

TINY = "network=own&depth=2&width=32&schemes=zeros,he_normal&seeds=0,1&epochs=60"


def test_a_student_starts_two_schemes_of_two_seeds_and_sees_the_curves_move_before_they_end(page: Page) -> None:
    page.goto(f"/#/start?{TINY}")
    expect(page.get_by_role("button", name="Train 4 models")).to_be_enabled()
    expect(page.get_by_text("Measured on training images of mnist_5k.")).to_be_visible()
    page.get_by_role("button", name="Train 4 models").click()
    expect(page).to_have_url(re.compile("#/watch\\?experiment=exp_"))
    first = wait_until(lambda: points(page, "Training loss"), what="a first point")
    wait_until(lambda: points(page, "Training loss") > 2 * first, what="more points")
    assert page.locator(".state.succeeded").count() < 4, "the curves moved only when all had ended"
    expect(page.locator("tbody .state.succeeded")).to_have_count(4, timeout=TRAINED_MS)
    wait_until(lambda: points(page, "Training loss") == 2 * 60 * 3, what="all points, three an epoch")
    expect(page.get_by_text("All have ended.")).to_be_visible()
    zeros = page.get_by_role("row", name=re.compile("zeros, seed 0"))
    expect(zeros.locator(".state.poor")).to_have_text("did not learn")
    zeros.get_by_text("Why?").click()
    expect(zeros.get_by_text("After training: symmetry unbroken")).to_be_visible()
    expect(zeros.get_by_text("Draw the weights at random")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("he_normal, seed 0")).locator(".state")).to_contain_text("learned")
    expect(page.get_by_role("img", name=re.compile("^zeros: activation"))).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_text("With 2 seeds he_normal is ahead of zeros")).to_be_visible()


def test_a_recorded_run_is_played_again_stopped_and_stepped_through(page: Page, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/watch?experiment={experiment['id']}")
    expect(page.get_by_text("All have ended.")).to_be_visible()
    whole = wait_until(lambda: points(page, "Training loss"), what="the curves")
    slider = page.get_by_label("Epochs that are shown")
    slider.fill("10")
    expect(page.get_by_text("up to epoch 1.0 of 4")).to_be_visible()
    quarter = wait_until(lambda: 0 < points(page, "Training loss") < whole and points(page, "Training loss"))
    assert quarter == whole / 4
    page.get_by_role("button", name="Step on").click()
    expect(page.get_by_text("up to epoch 1.1 of 4")).to_be_visible()
    page.get_by_role("button", name="Play again").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    wait_until(lambda: points(page, "Training loss") > 2 * quarter, what="the curves to move")
    page.get_by_role("button", name="Pause").click()
    slider.press("End")
    expect(page.get_by_text("all of 4 epochs")).to_be_visible()
    wait_until(lambda: points(page, "Training loss") == whole, what="all points")


def test_an_experiment_is_repeated_at_other_seeds(page: Page, lab: Service, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/watch?experiment={experiment['id']}")
    page.get_by_role("button", name="Again at seeds 2 to 3").click()
    expect(page.locator("tbody .state.succeeded")).to_have_count(4, timeout=TRAINED_MS)
    expect(page.get_by_role("link", name="he_normal, seed 3").first).to_be_visible()
    again = re.search("exp_[0-9a-f]+", page.url)
    assert again is not None
    request = lab.client.get(f"/experiments/{again[0]}").json()["request"]
    assert request == experiment["request"] | {"seeds": [2, 3]}


def test_the_first_experiment_that_is_offered_tells_schemes_apart_by_what_it_shows(page: Page) -> None:
    page.goto("/#/start")
    expect(page.get_by_role("button", name="Train 4 models")).to_be_enabled()
    chosen = page.locator("input[name=scheme]:checked")
    assert [box.get_attribute("value") for box in chosen.all()] == [
        "zeros",
        "xavier_uniform",
        "he_normal",
        "torch_default",
    ]
    expect(page.get_by_label("Epochs")).to_have_value("30")
    expect(page.get_by_role("group", name="Size from fan-in (LeCun, He)")).to_contain_text("He / Kaiming normal")


def test_the_button_counts_seeds_and_ranges_and_waits_for_what_is_no_seed(page: Page) -> None:
    page.goto("/#/start?schemes=zeros&seeds=0")
    expect(page.get_by_role("button", name="Train 1 model")).to_be_enabled()
    page.get_by_label("Seeds").fill("0, 2, 5-7")
    expect(page.get_by_role("button", name="Train 5 models")).to_be_enabled()
    for wrong in ("0, 1, x", "-1", "7-5", ""):
        page.get_by_label("Seeds").fill(wrong)
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
        expect(
            page.get_by_text("Seeds are whole numbers with commas between them, or ranges such as 0-4.")
        ).to_be_visible()


def test_heat_maps_stand_beside_each_other_while_they_grow(page: Page, lab: Service) -> None:
    jobs = []
    for scheme, epochs in {"zeros": 20, "xavier_uniform": 20, "he_normal": 10_000}.items():
        body = {"architecture": {"hidden": [32, 32]}, "init": {"scheme": scheme}, "data": "mnist_5k", "epochs": epochs}
        jobs.append(lab.client.post("/jobs", json=body).raise_for_status().json()["id"])
    page.goto(f"/#/watch?jobs={','.join(jobs)}")
    try:
        expect(page.locator(".plot.short.js-plotly-plot")).to_have_count(len(jobs))
        wait_until(lambda: not overlapping_charts(page), what="charts that stand apart")
        assert lab.job(jobs[-1])["state"] == "running", "the maps had stopped growing"
    finally:
        lab.client.post(f"/jobs/{jobs[-1]}/cancel")
    wait_for_state(lab.client, jobs[-1], "cancelled")


def test_a_preview_tells_before_training_that_zeros_cannot_learn(page: Page) -> None:
    page.goto("/#/start?schemes=zeros,he_normal")
    said = page.locator(".said-of")
    expect(said).to_contain_text("zeros: symmetry unbroken")
    expect(said).to_contain_text("he_normal: fine")


def test_a_pre_trained_job_shows_its_machines_errors_and_their_filters(page: Page, lab: Service) -> None:
    body = {
        "architecture": {"hidden": [16, 8], "activation": "sigmoid"},
        "init": {"scheme": "dbn", "rbm_epochs": 2},
        "data": "mnist_5k",
        "epochs": 1,
    }
    job_id = lab.client.post("/jobs", json=body).raise_for_status().json()["id"]
    page.goto(f"/#/watch?jobs={job_id}")
    expect(page.locator("tbody .state.succeeded")).to_be_visible(timeout=TRAINED_MS)
    wait_until(lambda: points(page, "Pre-training") == 2 * 2, what="two epochs of two machines")
    page.goto(f"/#/understand?part=weights&model={job_id}&epoch=0")
    expect(page.get_by_text("the filters of the first restricted Boltzmann machine")).to_be_visible()
    expect(page.locator("canvas.tile")).to_have_count(16)


def test_a_job_is_cancelled_from_the_list(page: Page, lab: Service) -> None:
    body = {"architecture": {"hidden": [64]}, "data": "mnist_5k", "epochs": 5000}
    job_id = lab.client.post("/jobs", json=body).json()["id"]
    page.goto("/#/watch")
    row = page.locator("tr", has=page.locator(f'a[href*="{job_id}"]'))
    row.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(row.locator(".state")).to_have_text("cancelled")
    assert lab.job(job_id)["state"] == "cancelled"


def test_a_job_is_paused_and_goes_on_from_its_own_view(page: Page, lab: Service) -> None:
    body = {"architecture": {"hidden": [64]}, "data": "mnist_5k", "epochs": 400}
    job_id = lab.client.post("/jobs", json=body).json()["id"]
    page.goto(f"/#/watch?jobs={job_id}")
    expect(page.locator(".state")).to_have_text("running")
    page.get_by_role("button", name=re.compile("^Pause")).click()
    expect(page.locator(".state")).to_have_text("paused")
    page.get_by_role("button", name=re.compile("^Resume")).click()
    expect(page.locator(".state")).to_have_text("running")
    page.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(page.locator(".state")).to_have_text("cancelled")


def test_an_answer_that_comes_late_does_not_undo_what_events_have_told(page: Page, lab: Service) -> None:
    body = {"architecture": {"hidden": [64]}, "data": "mnist_5k", "epochs": 5000}
    job_id = lab.client.post("/jobs", json=body).json()["id"]

    def wait_for_epochs() -> None:
        before = wait_for_state(lab.client, job_id, "running")["epoch"]
        wait_until(lambda: lab.job(job_id)["epoch"] > before + 20, what="more epochs")

    def hold_back(route: Route) -> None:
        answer = route.fetch()
        wait_for_epochs()
        route.fulfill(response=answer)

    page.goto(f"/#/watch?jobs={job_id}")
    page.get_by_role("button", name=re.compile("^Pause")).click()
    expect(page.locator(".state")).to_have_text("paused")
    page.route("**/resume", hold_back)
    with page.expect_response("**/resume"):
        page.get_by_role("button", name=re.compile("^Resume")).click()
    wait_for_epochs()
    assert page.locator(".state").text_content() == "running"
    page.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(page.locator(".state")).to_have_text("cancelled")


def test_a_failed_job_says_why_and_what_to_do(page: Page, lab: Service) -> None:
    body = {
        "architecture": {"hidden": [32, 32], "activation": "identity"},
        "init": {"scheme": "normal", "std": 10},
        "optimizer": {"name": "sgd", "lr": 10},
        "data": "mnist_5k",
        "epochs": 1,
    }
    job_id = lab.client.post("/jobs", json=body).json()["id"]
    error = wait_for_state(lab.client, job_id, "failed")["error"]
    page.goto("/#/watch?state=failed")
    row = page.locator("tr", has=page.locator(f'a[href*="{job_id}"]'))
    expect(row).to_contain_text(error["detail"])
    expect(row).to_contain_text(error["hint"])
    expect(row.get_by_role("button", name=re.compile("^Retry"))).to_be_visible()


def test_a_view_of_layers_is_the_same_after_a_reload(page: Page, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/watch?experiment={experiment['id']}")
    page.get_by_label("What").select_option("dz_rms")
    page.get_by_label(re.compile("^As")).select_option("ridges")
    figure = page.get_by_role("img", name=re.compile("^he_normal: gradient"))
    for _ in range(2):
        expect(figure).to_be_visible()
        wait_until(lambda: figure.evaluate("plot => plot.data?.[1]?.fill") == "tonexty", what="ridgelines")
        assert "measure=dz_rms" in page.url
        assert "form=ridges" in page.url
        page.reload()
        expect(page.get_by_label("What")).to_have_value("dz_rms")


def test_the_start_form_works_by_keyboard_alone(page: Page) -> None:
    page.goto("/#/start?schemes=&seeds=0&epochs=1&network=own&depth=1&width=8")
    keys = page.keyboard
    expect(page.get_by_role("combobox", name="Network")).to_be_visible()

    def tab_to(name: str) -> None:
        for _ in range(80):
            keys.press("Tab")
            if page.evaluate("document.activeElement.closest('label, button')?.textContent ?? ''").startswith(name):
                return
        pytest.fail(f"{name} cannot be reached by the Tab key")

    tab_to("He / Kaiming normal")
    keys.press("Space")
    expect(page.get_by_role("checkbox", name="He / Kaiming normal")).to_be_checked()
    expect(page.get_by_text("W ~ N(0, s^2), s = g / sqrt(f)")).to_be_visible()
    tab_to("Seeds")
    keys.press("End")
    keys.type(",1")
    expect(page.get_by_role("button", name="Train 2 models")).to_be_enabled()
    tab_to("Train 2 models")
    keys.press("Enter")
    expect(page).to_have_url(re.compile("#/watch\\?experiment=exp_"))
    expect(page.locator("tbody .state.succeeded")).to_have_count(2)


def test_a_scheme_with_a_parameter_is_in_the_address_and_in_the_request(page: Page, lab: Service) -> None:
    page.goto("/#/start?schemes=xavier_uniform&seeds=0&epochs=0&network=own&depth=1&width=8")
    page.get_by_text("Parameters", exact=True).click()
    page.get_by_label(re.compile("^gain")).fill("4")
    page.get_by_label(re.compile("^gain")).press("Tab")
    expect(page.locator(".said-of")).to_contain_text("xavier_uniform, gain 4")
    page.reload()
    expect(page.get_by_label(re.compile("^gain"))).to_have_value("4")
    page.get_by_role("button", name="Train 1 model").click()
    expect(page).to_have_url(re.compile("#/watch\\?experiment=exp_"))
    found = lab.client.get(f"/experiments/{page.url.partition('experiment=')[2]}").json()
    assert found["request"]["schemes"] == [{"scheme": "xavier_uniform", "gain": 4}]


def test_a_wrong_number_is_told_where_it_stands(browser: Browser, lab: Service) -> None:
    with visit(browser, lab.base_url, expected_complaints="status of 422") as page:
        page.goto("/#/start?network=own&width=9000")
        expect(page.get_by_role("alert").first).to_contain_text("less than or equal to 8192")


def test_the_curl_command_of_the_start_view_does_what_its_button_does(browser: Browser, lab: Service) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with visit(browser, lab.base_url, permissions=permissions) as page:
        page.goto("/#/start?schemes=zeros&seeds=5&epochs=0&network=own&depth=1&width=8")
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.get_by_text("The curl command is copied.")).to_be_visible()
        command = page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    experiment = json.loads(answer)
    assert [member["seed"] for member in experiment["members"]] == [5]
    assert experiment["request"]["base"]["architecture"] == {"hidden": [8], "activation": "relu"}


def test_a_network_of_ones_own_may_take_standardized_inputs(browser: Browser, lab: Service) -> None:
    with visit(browser, lab.base_url) as page:
        page.goto("/#/start?schemes=lecun_normal&epochs=0&network=own&depth=1&width=8")
        page.get_by_label("activation").select_option("scaled_tanh")
        page.get_by_label("inputs").select_option("standardized")
        expect(page.get_by_text("784-8-10, scaled_tanh, standardized inputs: 6,370 parameters.")).to_be_visible()
        assert "inputs=standardized" in page.url
        page.get_by_role("button", name="Train 1 model").click()
        page.wait_for_url("**/#/watch**")
    architecture = lab.client.get("/jobs", params={"limit": 1}).json()["data"][0]["spec"]["architecture"]
    assert architecture == {"hidden": [8], "activation": "scaled_tanh", "inputs": "standardized"}


def test_mistakes_are_shown_for_the_cell_that_is_pressed(page: Page, lab: Service, experiment: dict[str, Any]) -> None:
    job_id = experiment["members"][-1]["job_id"]
    counts = lab.client.get(f"/models/{job_id}/evaluation").json()["confusion_matrix"]
    label, answer = max(
        ((row, column) for row in range(10) for column in range(10) if row != column),
        key=lambda one: counts[one[0]][one[1]],
    )
    page.goto(f"/#/understand?part=mistakes&model={job_id}")
    page.get_by_role("button", name=f"{counts[label][answer]} times {label} taken for {answer}").click()
    expect(page.get_by_role("heading", name=f"{label} taken for {answer}")).to_be_visible()
    expect(page.locator(".mistakes img")).to_have_count(min(24, counts[label][answer]))


def test_first_weights_are_those_of_the_model_at_each_epoch(
    page: Page, lab: Service, experiment: dict[str, Any]
) -> None:
    zeros, he = experiment["members"][0]["job_id"], experiment["members"][-1]["job_id"]
    page.goto(f"/#/understand?part=weights&model={he}")
    expect(page.locator("canvas.tile")).to_have_count(32)
    drawn = page.locator("canvas.tile").first.evaluate("one => one.toDataURL()")
    page.get_by_role("slider").press("Home")
    expect(page.get_by_text("0: before training")).to_be_visible()
    tile = page.locator("canvas.tile").first
    wait_until(lambda: tile.evaluate("one => one.toDataURL()") != drawn, what="other weights")
    page.goto(f"/#/understand?part=weights&model={zeros}")
    expect(page.get_by_text("Every weight is exactly 0")).to_be_visible()


def test_distributions_in_every_layer_are_those_of_each_epoch(
    page: Page, lab: Service, experiment: dict[str, Any]
) -> None:
    zeros, he = experiment["members"][0]["job_id"], experiment["members"][-1]["job_id"]
    page.goto(f"/#/understand?part=layers&model={he}")
    pictures = page.locator(".histogram svg")
    expect(pictures).to_have_count(12)  # three layers of four kinds
    layers = lab.client.get(f"/models/{he}@0/distributions").json()["layers"]
    page.get_by_role("slider").press("Home")
    expect(page.get_by_text("0: before training")).to_be_visible()
    zero_share = layers[0]["activations"]["zeros"] / (512 * 32)
    expect(page.get_by_label("activations of layer 1:")).to_have_attribute(
        "aria-label", re.compile(f", {100 * zero_share:.0f} % are 0")
    )
    page.goto(f"/#/understand?part=layers&model={zeros}")
    expect(page.get_by_label("weights of layer 1: all are 0", exact=True)).to_be_visible()
    expect(page.get_by_text("undefined: at most one unit is not 0").first).to_be_visible()


@long
def test_a_claim_is_tried_by_a_press_and_its_verdict_is_shown(page: Page, lab: Service) -> None:
    page.goto("/#/understand?part=claims")
    page.get_by_role("button", name="Run recipe R4", exact=True).click()
    expect(page).to_have_url(re.compile("#/watch\\?experiment=exp_"))
    experiment_id = page.url.partition("experiment=")[2]
    expect(page.locator("tbody .state.succeeded")).to_have_count(13, timeout=TRAINED_MS)
    page.goto("/#/understand?part=claims")
    card = page.locator("article", has=page.get_by_role("heading", name=re.compile("^R4 ")))
    verdict = lab.client.get(f"/experiments/{experiment_id}").json()["verdict"]
    expect(card).to_contain_text(verdict["measured"])
    expect(card.locator(".state")).to_have_text("holds" if verdict["holds"] else "does not hold")


def test_an_alias_is_set_moved_and_deleted(page: Page, lab: Service, experiment: dict[str, Any]) -> None:
    first, second = experiment["members"][0]["job_id"], experiment["members"][-1]["job_id"]
    page.goto(f"/#/models?model={first}")
    page.get_by_label("Give it a new alias").fill("champion")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("row", name=re.compile("champion"))).to_be_visible()
    assert lab.client.get("/aliases/champion").json()["model"].startswith(first)
    page.goto(f"/#/models?model={second}")
    page.get_by_role("row", name=re.compile("champion")).get_by_role("button", name=re.compile("^Move")).click()
    expect(page.get_by_text("champion is moved.")).to_be_visible()
    assert lab.client.get("/aliases/champion").json()["model"].startswith(second)
    page.get_by_role("button", name="Delete alias champion").click()
    expect(page.get_by_text("No alias yet.")).to_be_visible()
    assert lab.client.get("/aliases/champion").status_code == httpx.codes.NOT_FOUND


def test_weights_are_downloaded_as_the_service_gives_them(page: Page, lab: Service, experiment: dict[str, Any]) -> None:
    job_id = experiment["members"][-1]["job_id"]
    page.goto(f"/#/models?model={job_id}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as onnx").click()
    assert download.value.suggested_filename == f"{job_id}.onnx"
    expected = lab.client.get(f"/models/{job_id}/weights", params={"format": "onnx"}).content
    assert download.value.path().read_bytes() == expected


def test_a_model_is_deleted_after_a_question(page: Page, lab: Service) -> None:
    body = {"architecture": {"hidden": [8]}, "data": "mnist_5k", "epochs": 0}
    job_id = lab.client.post("/jobs", json=body).json()["id"]
    wait_for_state(lab.client, job_id, "succeeded")
    page.goto(f"/#/models?model={job_id}")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete it").click()
    assert lab.client.get(f"/models/{job_id}").status_code == httpx.codes.OK
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("heading", name=job_id)).to_be_hidden()
    assert lab.client.get(f"/models/{job_id}").status_code == httpx.codes.NOT_FOUND


def test_a_chart_is_saved_as_a_picture_with_its_legend_and_its_numbers_as_a_table(
    page: Page, experiment: dict[str, Any]
) -> None:
    page.goto(f"/#/watch?experiment={experiment['id']}")

    def saved(kind: str) -> tuple[str, bytes]:
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Training loss as {kind}").click()
        return download.value.suggested_filename, download.value.path().read_bytes()

    name, svg = saved("SVG")
    assert name == "training-loss.svg"
    assert svg.startswith(b"<svg")
    texts = set(re.findall(rb">([^<>]+)<", svg))
    assert {b"Training loss", b"zeros", b"he_normal"} <= texts
    assert not any(text.startswith(b"trace") for text in texts)
    name, png = saved("PNG")
    assert name == "training-loss.png"
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (1800, 1000)
        assert len(picture.convert("RGB").getcolors(2**20) or []) > 10
    name, table = saved("CSV")
    assert name == "training-loss.csv"
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    epochs = [float(row["epoch"]) for row in rows if row["group"] == "he_normal"]
    assert len(epochs) == 4 * 40, "each step is a part: an epoch has 40"
    assert epochs == pytest.approx([(number + 0.5) / 40 for number in range(4 * 40)])
    with page.expect_download() as download:
        page.get_by_role("button", name="accuracy as CSV").click()
    of_zeros = next(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert (of_zeros["group"], of_zeros["epoch"]) == ("zeros", "1")
    # Chance is 0.1; the chart draws the error, 0.9, on an axis of logarithms.
    assert float(of_zeros["mean"]) == pytest.approx(0.1, abs=0.03)


def test_a_dark_page_is_printed_light_and_is_dark_again(
    browser: Browser, lab: Service, experiment: dict[str, Any]
) -> None:
    with visit(browser, lab.base_url, color_scheme="dark") as page:
        page.goto(f"/#/watch?experiment={experiment['id']}")
        settle(page)
        ink = "document.querySelector('.plot .xtick text').style.fill"
        dark = page.evaluate(ink)
        page.evaluate(f"addEventListener('beforeprint', () => (globalThis.printed = {ink}))")
        page.pdf()
        printed = page.evaluate("globalThis.printed")
        assert luminance(printed) < 0.2 < 0.7 < luminance(dark)
        assert page.evaluate(ink) == dark
        page.emulate_media(media="print")
        expect(page.get_by_role("button", name="Training loss as SVG")).to_be_hidden()
        expect(page.get_by_role("heading", name="Training loss")).to_be_visible()


def luminance(colour: str) -> float:
    """Return how light a colour such as rgb(27, 32, 38) is, 0 to 1."""
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / (3 * 255)
