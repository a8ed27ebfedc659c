"""Try: a digit is drawn, or a picture of one is brought, and models answer."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Service, wait_for_state
from tests.web.browsing import visit

pytestmark = pytest.mark.e2e


@pytest.mark.usefixtures("experiment")
def test_a_press_without_a_move_paints_a_dot_and_a_blank_board_posts_nothing(page: Page, lab: Service) -> None:
    posted: list[str] = []
    page.on("request", lambda request: posted.append(request.url) if "/predict" in request.url else None)
    page.goto("/#/try")
    board = page.locator("#drawing")
    board.dispatch_event("pointerup")
    page.get_by_label("crop, scale and centre it as MNIST was made").click()  # asks again about what is there
    assert posted == []
    with page.expect_response("**/predict?**"):
        board.click()
    lit = "board => board.getContext('2d').getImageData(140, 140, 1, 1).data[0]"
    assert board.evaluate(lit) == 255


@pytest.mark.usefixtures("experiment")
def test_the_board_asks_the_best_model_and_one_that_has_not_learned(page: Page) -> None:
    page.goto("/#/try?digit=3")
    chosen = page.locator(".chip", has=page.locator("input:checked"))
    expect(chosen).to_have_count(2)
    expect(chosen.first).to_contain_text("best: the highest accuracy")
    expect(chosen.last).to_contain_text("zeros")
    expect(page.get_by_text("10.00 % right on images that it had not seen")).to_be_visible()


def test_the_inside_of_a_model_is_drawn_for_each_picture_once_it_is_opened(
    page: Page, lab: Service, experiment: dict[str, Any]
) -> None:
    job_id = experiment["members"][-1]["job_id"]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/path" in request.url else None)
    page.goto(f"/#/try?models={job_id}&digit=3")
    expect(page.locator(".answer .big")).to_be_visible()
    assert asked == [], "nothing is asked for a panel that is closed"
    page.get_by_text("Inside of").click()
    inside = page.get_by_label("Inside", exact=True)
    digit = lab.client.get("/datasets/mnist_5k/test/3?format=png")
    path = lab.client.post(f"/models/{job_id}/path", content=digit.content).json()
    expect(inside.locator("svg line")).to_have_count(len(path["links"]))
    expect(inside.locator("svg text", has_text="%")).to_contain_text(f"{path['label']}: ")
    expect(inside.locator("canvas.units")).to_have_count(3)
    expect(inside).to_contain_text("layer 1: 32 units")
    expect(inside).to_contain_text("Inside of he_normal")
    before = inside.locator("svg").inner_html()
    page.get_by_role("button", name="Random test digit").click()
    page.wait_for_function(
        "before => document.querySelector('[aria-label=Inside] svg')?.innerHTML !== before", arg=before
    )
    page.get_by_role("button", name="Clear").click()
    expect(inside.locator("svg")).to_have_count(0)


def test_a_seven_drawn_by_a_pointer_is_read_as_a_seven(page: Page, lab: Service, experiment: dict[str, Any]) -> None:
    body = {"architecture": {"hidden": [128]}, "init": {"scheme": "he_normal"}, "data": "mnist_5k", "epochs": 8}
    job_id = lab.client.post("/jobs", json=body).json()["id"]
    wait_for_state(lab.client, job_id, "succeeded")
    page.goto(f"/#/try?models={job_id},{experiment['members'][0]['job_id']}")
    box = page.locator("#drawing").bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.mouse.move(*at(0.28, 0.25))
    page.mouse.down()
    page.mouse.move(*at(0.72, 0.25), steps=8)
    page.mouse.move(*at(0.45, 0.8), steps=8)
    page.mouse.up()
    trained = page.get_by_role("article", name="Answer of he_normal")
    expect(trained.locator(".big")).to_have_text("7")
    expect(page.get_by_role("article", name="Answer of zeros")).to_be_visible()
    expect(page.get_by_role("img", name="The 28x28 picture that the network saw")).to_be_visible()
    expect(page.get_by_text("he_normal says 7")).to_be_visible()


def test_a_test_digit_and_the_models_asked_are_there_again_after_a_reload(
    page: Page, experiment: dict[str, Any]
) -> None:
    job_id = experiment["members"][-1]["job_id"]
    page.goto(f"/#/try?models={job_id}")
    page.get_by_role("button", name="Random test digit").click()
    expect(page.get_by_role("article", name="Answer of he_normal")).to_be_visible()
    address, said = page.url, page.locator(".answer").inner_text()
    assert "digit=" in address
    page.reload()
    expect(page.locator(".answer")).to_have_text(re.compile(re.escape(said.split("\n")[0])))
    assert page.locator(".answer").inner_text() == said
    assert page.url == address


def test_an_uploaded_picture_is_answered_and_one_that_is_none_is_refused_with_the_reason(
    browser: Browser, lab: Service, experiment: dict[str, Any]
) -> None:
    digit = lab.client.get("/datasets/mnist_5k/test/3", headers={"Accept": "image/png"}).content
    with visit(browser, lab.base_url, expected_complaints="status of 4") as page:
        page.goto(f"/#/try?models={experiment['members'][-1]['job_id']}")
        upload = page.get_by_label("Upload a picture of a digit")
        upload.set_input_files({"name": "digit.png", "mimeType": "image/png", "buffer": digit})
        expect(page.locator(".answer .big")).to_be_visible()
        upload.set_input_files({"name": "digit.png", "mimeType": "image/png", "buffer": digit[:40]})
        expect(page.get_by_role("alert").filter(has_text="PNG")).to_be_visible()


def draw_a_line(page: Page) -> None:
    """Draw from the top to the bottom of the board, through its middle."""
    box = page.locator("#drawing").bounding_box()
    assert box is not None
    x, y, height = box["x"] + box["width"] / 2, box["y"], box["height"]
    page.mouse.move(x, y + 0.2 * height)
    page.mouse.down()
    page.mouse.move(x, y + 0.8 * height, steps=6)
    page.mouse.up()


INKED_COLUMNS = (
    "board => { const row = board.getContext('2d').getImageData(0, 140, 280, 1).data;"
    "return row.filter((level, index) => index % 4 === 0 && level > 127).length; }"
)


@pytest.mark.usefixtures("experiment")
def test_a_stroke_a_clearing_and_a_picture_are_undone_one_by_one(page: Page, lab: Service) -> None:
    page.goto("/#/try")
    board, undo = page.locator("#drawing"), page.get_by_role("button", name="Undo")
    draw_a_line(page)
    assert board.evaluate(INKED_COLUMNS) == 22
    expect(page.locator(".answer .big").first).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    assert board.evaluate(INKED_COLUMNS) == 0
    with page.expect_response("**/predict?**"):
        undo.click()
    assert board.evaluate(INKED_COLUMNS) == 22
    page.get_by_role("button", name="Random test digit").click()
    page.wait_for_url("**digit=**")
    with page.expect_response("**/predict?**"):
        undo.click()
    assert board.evaluate(INKED_COLUMNS) == 22
    assert "digit=" not in page.url
    undo.click()
    assert board.evaluate(INKED_COLUMNS) == 0
    expect(page.locator(".answer")).to_have_count(0)
    undo.click()  # there is nothing to undo


@pytest.mark.usefixtures("experiment")
def test_the_pen_is_as_wide_as_the_reader_sets_it(page: Page) -> None:
    page.goto("/#/try")
    page.get_by_label("Pen width").fill("10")
    draw_a_line(page)
    assert page.locator("#drawing").evaluate(INKED_COLUMNS) == 10


@pytest.mark.usefixtures("experiment")
def test_a_drawing_is_there_again_after_leaving_the_page_and_after_a_reload(page: Page) -> None:
    page.goto("/#/try")
    draw_a_line(page)
    expect(page.get_by_text(re.compile(r"says \d, "))).to_be_visible()  # the answer after the pen was lifted
    answer = page.locator(".answer").first
    said = answer.inner_text()
    page.goto("/#/watch")
    page.go_back()
    expect(answer).to_have_text(said, use_inner_text=True)
    page.reload()
    expect(answer).to_have_text(said, use_inner_text=True)
    page.get_by_role("button", name="Clear").click()
    page.reload()
    expect(page.get_by_label("Pen width")).to_be_visible()
    assert page.locator("#drawing").evaluate(INKED_COLUMNS) == 0


@pytest.mark.parametrize("kind", ["a large photo", "a kind that only the browser reads"])
def test_a_picture_is_decoded_in_the_browser_if_the_service_should_not_or_cannot(
    page: Page, lab: Service, experiment: dict[str, Any], kind: str
) -> None:
    digit = Image.open(
        io.BytesIO(lab.client.get("/datasets/mnist_5k/test/3", headers={"Accept": "image/png"}).content)
    ).convert("L")
    file = io.BytesIO()
    if kind == "a large photo":
        digit.resize((2100, 2100)).convert("RGB").save(file, "BMP")
        name, mime = "photo.bmp", "image/bmp"
    else:
        digit.resize((64, 64)).save(file, "ICO")
        name, mime = "digit.ico", "image/x-icon"
    page.add_init_script(
        "const post = fetch; fetch = async (url, options) => {"
        "if (options?.body instanceof Blob) window.posted = [...new Uint8Array(await options.body.arrayBuffer())];"
        "return post(url, options); };"
    )
    page.goto(f"/#/try?models={experiment['members'][-1]['job_id']}")
    with page.expect_response("**/predict?**") as answered:
        page.get_by_label("Upload a picture of a digit").set_input_files(
            {"name": name, "mimeType": mime, "buffer": file.getvalue()}
        )
    assert answered.value.ok
    assert answered.value.request.headers["content-type"] == "application/x-npy"
    pixels = np.load(io.BytesIO(bytes(page.evaluate("posted"))))
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((512, 512) if kind == "a large photo" else (64, 64))
    small = np.asarray(Image.fromarray(pixels).resize((28, 28), Image.Resampling.BOX), float)
    assert np.abs(small - np.asarray(digit, float)).mean() < 10  # of 255: the digit, upright and not inverted
    expect(page.locator(".answer .big")).to_be_visible()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_that_is_dropped_or_pasted_is_answered(
    page: Page, lab: Service, experiment: dict[str, Any], way: str
) -> None:
    digit = lab.client.get("/datasets/mnist_5k/test/3", headers={"Accept": "image/png"}).content
    page.goto(f"/#/try?models={experiment['members'][-1]['job_id']}")
    expect(page.locator("#drawing")).to_be_visible()
    page.evaluate(
        "([way, bytes]) => { const data = new DataTransfer();"
        "data.items.add(new File([new Uint8Array(bytes)], 'digit.png', {type: 'image/png'}));"
        "const board = document.getElementById('drawing');"
        "if (way === 'drop') board.dispatchEvent(new DragEvent('drop', {dataTransfer: data}));"
        "else document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data})); }",
        [way, list(digit)],
    )
    expect(page.locator(".answer .big")).to_be_visible()
