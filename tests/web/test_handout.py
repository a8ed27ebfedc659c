"""The handout of an experiment: one page with everything, and a file of it that needs no service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Service
from tests.web.browsing import PHONE, settle, visit


def test_an_experiment_has_a_handout_with_all_that_is_known_of_it(page: Page, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/watch?experiment={experiment['id']}")
    page.get_by_role("link", name="Handout").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("zeros, he_normal; 2 seeds")
    settle(page)
    expect(page.get_by_text("With 2 seeds he_normal is ahead of zeros")).to_be_visible()
    expect(page.get_by_role("img", name="Training loss")).to_be_visible()
    expect(page.get_by_role("img", name="zeros: activation")).to_be_visible()
    expect(page.get_by_text("Delving deep into rectifiers, eq. 10 and 15")).to_be_visible()


def test_a_saved_handout_opens_without_the_service(
    lab: Service, experiment: dict[str, Any], browser: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "handout.html"
    with visit(browser, lab.base_url, color_scheme="dark") as page:
        page.goto(f"/#/handout?experiment={experiment['id']}")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as a file").click()
        assert download.value.suggested_filename == f"{experiment['id']}.html"
        download.value.save_as(file)
    context = browser.new_context(offline=True, java_script_enabled=False, viewport=PHONE)
    try:
        alone = context.new_page()
        asked: list[str] = []
        alone.on("request", lambda request: asked.append(request.url))
        alone.goto(file.as_uri())
        expect(alone.get_by_role("heading", level=1)).to_have_text("zeros, he_normal; 2 seeds")
        expect(alone.get_by_text("With 2 seeds he_normal is ahead of zeros")).to_be_visible()
        expect(alone.get_by_text('"seeds": [')).to_be_visible()
        pictures = alone.locator("img")
        assert pictures.count() >= 5, "accuracy by group, loss, accuracy, and a map of each group"
        assert all(picture.evaluate("image => image.naturalWidth > 100") for picture in pictures.all())
        assert alone.locator("button, input, select, script").count() == 0
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert alone.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the window"
        background = alone.evaluate("getComputedStyle(document.documentElement).colorScheme")
        assert background == "light"
    finally:
        context.close()


def test_a_handout_of_nothing_says_where_there_is_one(page: Page) -> None:
    page.goto("/#/handout")
    expect(page.get_by_text("Open an experiment in Watch first: it has a link to its handout.")).to_be_visible()
