"""What the page shows when there is nothing or a lot, when the service is away, and when it asks for a key."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.machines import wait_until
from tests.e2e.conftest import Service, long, submit_and_reach
from tests.web.browsing import PHONE, TRAINED_MS, points, settle, visit

pytestmark = pytest.mark.e2e

KEY = "a-key-for-this-test"
AWAY = "Failed to load resource|ERR_|status of 40[14]"


@pytest.fixture
def fresh(browser: Browser, tmp_path: Path) -> Iterator[Service]:
    """A service of its own, on which nothing was trained yet."""
    with Service(tmp_path, tmp_path / "no-data") as service:
        yield service


@pytest.fixture(scope="module")
def empty_lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("empty")
    with Service(folder, folder / "no-data") as service:
        yield service


@pytest.mark.parametrize(
    ("address", "text", "lead"),
    [
        ("/#/watch", "No experiment yet.", "Start one"),
        ("/#/watch", "No job yet.", "Start some"),
        ("/#/understand?part=weights", "No model yet.", "Train some"),
        ("/#/understand?part=compare", "No experiment yet.", "Start one"),
        ("/#/try", "No model yet: train one first.", "Start"),
        ("/#/models", "No model yet.", "Train some"),
    ],
)
def test_an_empty_view_says_what_to_do(
    browser: Browser, empty_lab: Service, address: str, text: str, lead: str
) -> None:
    with visit(browser, empty_lab.base_url) as page:
        page.goto(address)
        notice = page.locator(".notice", has_text=text)
        expect(notice).to_be_visible()
        notice.get_by_role("link", name=lead, exact=True).click()
        expect(page.get_by_role("heading", name="What does initialization do?")).to_be_visible()


@long
def test_the_stream_goes_on_by_itself_after_the_api_was_killed(browser: Browser, fresh: Service) -> None:
    job_id = submit_and_reach(fresh.client, 2, epochs=500)
    with visit(browser, fresh.base_url, expected_complaints=AWAY) as page:
        page.goto(f"/#/watch?jobs={job_id}")
        expect(page.get_by_text("Live.")).to_be_visible()
        before = wait_until(lambda: points(page, "Training loss"), what="a first point")
        for process_id in fresh.children("api"):
            os.kill(process_id, signal.SIGKILL)
        expect(page.get_by_text("The connection is lost; the page is reconnecting.")).to_be_visible()
        expect(page.get_by_text("Live.")).to_be_visible()
        wait_until(lambda: points(page, "Training loss") > before, what="points after the break")
        figure = page.locator(".plot").first
        epochs = figure.evaluate("plot => plot.data[0].x")
        assert epochs == list(range(1, len(epochs) + 1)), "epochs are missing, or there twice"


def test_a_service_that_is_away_is_told_and_so_is_its_return(browser: Browser, fresh: Service) -> None:
    with visit(browser, fresh.base_url, expected_complaints=AWAY) as page:
        page.goto("/#/watch")
        expect(page.get_by_text("No job yet.")).to_be_visible()
        banner = page.get_by_text("The service does not answer. The page may be out of date")
        expect(banner).to_be_hidden()
        page.wait_for_load_state("networkidle")  # the other views are loaded too
        fresh.stop()
        expect(banner).to_be_visible()
        page.get_by_role("link", name="Models").click()
        expect(page.get_by_text("The service does not answer. Is it running").first).to_be_visible()
        fresh.start()
        expect(banner).to_be_hidden()
        page.get_by_role("button", name="Try again").first.click()
        expect(page.get_by_text("No model yet.")).to_be_visible()


def test_a_service_with_a_key_is_used_with_it(browser: Browser, tmp_path: Path) -> None:
    with Service(tmp_path, tmp_path / "no-data", FANIN_API_KEY=KEY) as service:
        service.client.headers["Authorization"] = f"Bearer {KEY}"
        job_id = submit_and_reach(service.client, 1, epochs=30)
        with visit(browser, service.base_url, expected_complaints=AWAY) as page:
            page.goto(f"/#/watch?jobs={job_id}")
            give_key(page, "another")
            give_key(page, KEY)
            expect(page.get_by_role("link", name=re.compile("xavier_uniform, seed"))).to_be_visible()
            wait_until(lambda: points(page, "Training loss") == 30 * 6, what="all points, over a stream with the key")
            assert KEY not in page.url
            assert page.evaluate("Object.keys(localStorage)") == ["fanin.theme"]


def give_key(page: Page, key: str) -> None:
    dialog = page.get_by_role("dialog", name="Key of the service")
    dialog.get_by_label("Key", exact=True).fill(key)
    dialog.get_by_role("button", name="Use it").click()


def test_a_view_that_was_never_loaded_says_that_the_service_is_away(browser: Browser, fresh: Service) -> None:
    with visit(browser, fresh.base_url, expected_complaints=AWAY) as page:
        page.route(re.compile("/web/views/(models|try)"), lambda route: route.abort())
        page.goto("/#/watch")
        expect(page.get_by_text("No job yet.")).to_be_visible()
        page.get_by_role("link", name="Models").click()
        expect(page.get_by_text("The service does not answer. Is it running")).to_be_visible()
        page.unroute_all()
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_text("No model yet.")).to_be_visible()


def test_the_longest_names_do_not_widen_the_page_on_a_phone(
    browser: Browser, lab: Service, experiment: dict[str, Any]
) -> None:
    job_id = experiment["members"][0]["job_id"]
    names = {"name": "n" * 100, "note": "o" * 300, "labels": {"k" * 63: "v" * 63}}
    lab.client.put(f"/aliases/{'a' * 63}", json={"model": job_id}).raise_for_status()
    lab.client.patch(f"/jobs/{job_id}", json=names).raise_for_status()
    lab.client.patch(f"/experiments/{experiment['id']}", json=names).raise_for_status()
    try:
        with visit(browser, lab.base_url, viewport=PHONE) as page:
            for view in ("models", "watch", f"watch?jobs={job_id}", f"watch?experiment={experiment['id']}", "try"):
                page.goto(f"/#/{view}")
                settle(page)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    finally:
        lab.client.delete(f"/aliases/{'a' * 63}")
        gone = {"name": None, "note": None, "labels": {"k" * 63: None}}
        lab.client.patch(f"/jobs/{job_id}", json=gone).raise_for_status()
        lab.client.patch(f"/experiments/{experiment['id']}", json=gone).raise_for_status()


@pytest.mark.usefixtures("experiment")
def test_what_is_not_there_is_told(browser: Browser, lab: Service) -> None:
    with visit(browser, lab.base_url, expected_complaints="status of 404") as page:
        for address in ("watch?jobs=job_x", "watch?experiment=exp_x", "models?model=job_x", "understand?model=job_x"):
            page.goto(f"/#/{address}")
            expect(page.get_by_role("alert").filter(has_text=re.compile("There is no"))).to_be_visible()


@long
def test_sixty_four_members_and_two_hundred_jobs_are_shown_page_by_page(browser: Browser, lab: Service) -> None:
    base = {"architecture": {"hidden": [8]}, "data": "mnist_5k", "epochs": 1}
    schemes = ["he_normal", "xavier_uniform", "lecun_normal", "zeros"]
    ids = []
    for first_seed in range(0, 200, 50):
        body = {"base": base, "schemes": schemes, "seeds": list(range(first_seed, first_seed + 16))}
        ids.append(lab.client.post("/experiments", json=body).raise_for_status().json()["id"])
    with visit(browser, lab.base_url) as page:
        page.goto(f"/#/watch?experiment={ids[0]}")
        wait_until(lambda: points(page, "Training loss") > 0, what="a first point")
        expect(page.locator("tbody tr")).to_have_count(16)
        page.get_by_role("button", name="Show all 64 models").click()
        expect(page.locator("tbody tr")).to_have_count(64)
        expect(page.get_by_text("All have ended.")).to_be_visible(timeout=TRAINED_MS)
        wait_until(lambda: points(page, "Training loss") == 4, what="all points")
        page.goto("/#/watch")
        expect(page.locator("section[aria-label=Jobs] tbody tr")).to_have_count(25)
        page.get_by_role("button", name="Older").last.click()
        expect(page.get_by_role("button", name="Newest").last).to_be_visible()
        settle(page)
        for experiment_id in ids[1:]:
            lab.client.post(f"/experiments/{experiment_id}/cancel")
