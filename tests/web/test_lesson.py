"""The lesson: its texts in every language, and its steps as a student takes them, by keys and by touch."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from benchmarks.machines import wait_until
from tests.e2e.conftest import Service, long
from tests.web.browsing import PHONE, TRAINED_MS, visit

pytestmark = pytest.mark.e2e

STEPS = ("weight", "zeros", "size", "rbm", "xavier", "he", "notebooks")
RIGHT = {
    "weight": "about 10",
    "zeros": "xavier_uniform",
    "size": "xavier_normal",
    "rbm": "it falls",
    "xavier": "xavier_normal",
    "he": "he_normal",
    "notebooks": None,  # which is better after one epoch, chance decides
}
MOST_WORDS = 120


@pytest.fixture(scope="module")
def texts(browser: Browser, lab: Service) -> list[dict[str, Any]]:
    """The texts of all languages; functions are called with 1 and 2."""
    script = """async () => {
        const { LANGUAGES } = await import("/web/lessons/languages.js");
        const plain = (key, value) => (typeof value === "function" ? value(1, 2) : value);
        return JSON.parse(JSON.stringify(LANGUAGES, plain));
    }"""
    with visit(browser, lab.base_url) as page:
        page.goto("/#/learn")
        found: list[dict[str, Any]] = page.evaluate(script)
    return found


def shape(value: Any) -> Any:
    """Return the keys of a table of texts, and of each list its length."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    return len(value) if isinstance(value, list) else None


def test_every_language_has_every_text(texts: list[dict[str, Any]]) -> None:
    english, *others = texts
    assert [one["code"] for one in texts] == ["en", "ko"]
    assert tuple(english["steps"]) == STEPS
    for other in others:
        assert shape(other) == shape(english)
    assert not re.search("[가-힣]", json.dumps(english, ensure_ascii=False).replace("한국어", ""))


def test_a_step_has_few_words_a_formula_and_a_source(page: Page, texts: list[dict[str, Any]]) -> None:
    for name, step in texts[0]["steps"].items():
        assert len(" ".join(step["text"]).split()) <= MOST_WORDS, name
        page.goto(f"/#/learn?step={name}&lang=en")
        card = page.locator(".lesson")
        expect(card.get_by_role("heading", name=step["title"])).to_be_visible()
        formula = card.locator("math")
        assert formula.get_attribute("aria-label")
        assert formula.bounding_box()["height"] > 15  # type: ignore[index]  # it is typeset
        assert re.match("https://", card.get_by_role("link").get_attribute("href") or "")


def guess(page: Page, answer: str) -> None:
    """Choose an answer, run the step, and wait for what came of it."""
    page.get_by_role("radio", name=answer, exact=True).check()
    page.get_by_role("button", name="Run it").click()
    expect(page.locator(".answer")).to_be_visible(timeout=TRAINED_MS)


def test_a_student_guesses_runs_and_sees_by_keys_alone_that_equal_units_stay_equal(page: Page) -> None:
    page.goto("/#/learn?step=zeros&lang=en")
    run = page.get_by_role("button", name="Run it")
    expect(run).to_be_disabled()
    page.get_by_role("radio", name="zeros").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="constant")).to_be_checked()
    page.keyboard.press("Tab")
    expect(run).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_have_text(
        "Your guess is not right. The answer: xavier_uniform.", timeout=TRAINED_MS
    )
    expect(page.get_by_role("row", name="zeros")).to_contain_text("10.00 %")
    expect(page.get_by_text("every weight is 0")).to_be_visible()
    drawn = page.locator("figure", has_text="units of constant").locator("canvas.tile")
    expect(drawn).to_have_count(8)
    pictures = drawn.evaluate_all("all => new Set(all.map(one => one.toDataURL())).size")
    assert pictures == 1, "the units of a layer of constants have become different"
    random = page.locator("figure", has_text="units of xavier_uniform").locator("canvas.tile")
    assert random.evaluate_all("all => new Set(all.map(one => one.toDataURL())).size") == 8
    expect(page.get_by_text("0 of 1 guesses right so far.")).to_be_visible()
    page.reload()
    expect(page.locator(".steps li", has_text="Why not all zeros")).to_contain_text("✕")
    guess(page, "xavier_uniform")
    expect(page.get_by_text("1 of 1 guesses right so far.")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page).to_have_url(re.compile("step=size"))
    expect(page.get_by_role("heading", name="Why size matters")).to_be_visible()


def test_the_slider_shows_where_a_signal_dies_and_where_it_stays(page: Page) -> None:
    page.goto("/#/learn?step=size&lang=en")
    slider, said = page.get_by_role("slider"), page.locator(".said-of")
    expect(said).to_contain_text("signal dies")
    slider.fill("-1")
    expect(said).to_contain_text("normal 0.100: fine")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("normal 0.0630")


def test_on_a_phone_a_korean_student_sees_digits_and_their_recreations(browser: Browser, lab: Service) -> None:
    with visit(browser, lab.base_url, viewport=PHONE, has_touch=True, locale="ko-KR") as page:
        page.goto("/#/learn?step=rbm")
        expect(page.locator(".view.learn")).to_have_attribute("lang", "ko")
        page.get_by_text("줄어든다").tap()
        page.get_by_role("button", name="실행").tap()
        expect(page.locator(".answer")).to_have_text("예상이 맞았습니다.", timeout=TRAINED_MS)
        expect(page.get_by_role("img", name="digit")).to_have_count(8)
        expect(page.get_by_role("img", name="recreation")).to_have_count(8)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_label("언어").select_option("en")
        expect(page.get_by_role("heading", name="RBM and deep belief networks")).to_be_visible()
        page.goto("/#/learn")
        expect(page.get_by_role("heading", name="What a weight does")).to_be_visible()  # it is remembered
        for name in STEPS:
            page.goto(f"/#/learn?step={name}")
            expect(page.locator(".steps [aria-current]")).to_have_attribute("href", f"#/learn?step={name}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_a_guess_belongs_to_one_run_and_a_refused_run_leaves_no_job_behind(browser: Browser, lab: Service) -> None:
    asked: list[Any] = []

    def second_is_refused(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.request.post_data_json)
        if len(asked) == 2:
            expect(page.get_by_role("radio", name="zeros")).to_be_disabled()
            route.fulfill(status=503, json={"detail": "The queue is full."})
        else:
            route.continue_()

    with visit(browser, lab.base_url, expected_complaints="503") as page:
        page.route("**/jobs", second_is_refused)
        page.goto("/#/learn?step=zeros&lang=en")
        page.get_by_role("radio", name="zeros").check()
        with page.expect_response("**/cancel") as cancelled:
            page.get_by_role("button", name="Run it").click()
        assert cancelled.value.ok
        job_id = cancelled.value.json()["id"]
        expect(page.get_by_role("alert").get_by_text("The queue is full.")).to_be_visible()
        expect(page.get_by_role("radio", name="zeros")).to_be_enabled()
    assert [(one["data"], one["epochs"]) for one in asked] == [("mnist_5k", 15)] * 2
    wait_until(lambda: lab.job(job_id)["state"] in ("cancelled", "succeeded"), what="the first job's end")


def test_the_answer_stays_where_its_pictures_cannot_be_had(browser: Browser, lab: Service) -> None:
    with visit(browser, lab.base_url, expected_complaints="503") as page:
        page.route("**/samples?**", lambda route: route.fulfill(status=503, json={"detail": "Others are first."}))
        page.goto("/#/learn?step=rbm&lang=en")
        guess(page, "it falls")
        expect(page.get_by_text("Others are first.")).to_be_visible()
        expect(page.locator(".answer")).to_be_visible()
        page.unroute("**/samples?**")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("img", name="recreation")).to_have_count(8)


def test_a_link_in_a_language_keeps_it_from_step_to_step(page: Page) -> None:
    page.goto("/#/learn?step=xavier&lang=ko")
    page.get_by_role("link", name="다음").click()
    expect(page).to_have_url(re.compile("step=he&lang=ko"))
    expect(page.get_by_role("heading", name="He: ReLU가 잃는 절반")).to_be_visible()


@long
def test_every_step_comes_out_as_its_text_says(page: Page) -> None:
    for name in STEPS:
        page.goto(f"/#/learn?step={name}&lang=en")
        answer = RIGHT[name]
        guess(page, answer or "the first, with 2 hidden layers")
        if answer is not None:
            expect(page.locator(".answer")).to_have_text("Your guess is right.")
    expect(page.get_by_text(re.compile("of 7 guesses right so far"))).to_be_visible()
