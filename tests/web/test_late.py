"""What comes late, or not at all: answers to what is no longer asked, views that were left, jobs that are gone."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Response, Route, expect

from tests.e2e.conftest import Service, wait_for_state
from tests.web.browsing import settle, visit

pytestmark = pytest.mark.e2e

TINY = {"architecture": {"hidden": [8]}, "data": "mnist_5k", "epochs": 1}


class Held:
    """The answer to the first request whose address matches, held back until it is let go."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._page = page
        self._route: Route | None = None
        page.route(re.compile(pattern), self._take)

    def _take(self, route: Route) -> None:
        if self._route is None:
            self._route = route
        else:
            route.continue_()

    def let_go(self) -> None:
        """Let what was held be answered, and wait until the page has the answer."""
        assert self._route is not None, "nothing was held"
        with self._page.expect_response(partial(answers, self._route.request)) as answer:
            self._route.continue_()
        answer.value.finished()
        self._page.evaluate("new Promise(resolve => setTimeout(resolve))")


def answers(request: Request, response: Response) -> bool:
    return response.request == request


def trained(lab: Service, **fields: Any) -> str:
    job_id: str = lab.client.post("/jobs", json=TINY | fields).raise_for_status().json()["id"]
    wait_for_state(lab.client, job_id, "succeeded")
    return job_id


def test_a_late_answer_for_another_model_does_not_replace_the_chosen_ones(
    page: Page, lab: Service, experiment: dict[str, Any]
) -> None:
    zeros, he = experiment["members"][0]["job_id"], experiment["members"][-1]["job_id"]
    accuracy = lab.client.get(f"/models/{zeros}").json()["accuracy"]
    page.goto("/#/understand?part=mistakes")
    settle(page)
    select = page.get_by_label(re.compile("^Model"))
    held = Held(page, f"/models/{he}[^/]*/evaluation")
    with page.expect_request(re.compile(f"/models/{he}[^/]*/evaluation")):
        select.select_option(he)
    select.select_option(zeros)
    expect(page.locator(".view strong")).to_have_text(f"{100 * accuracy:.2f} %")
    held.let_go()
    settle(page)
    expect(page.locator(".view strong")).to_have_text(f"{100 * accuracy:.2f} %")
    assert f"model={zeros}" in page.url


def test_a_late_estimate_of_another_network_is_dropped(page: Page) -> None:
    page.goto("/#/start?network=own&depth=2&width=16&schemes=zeros&seeds=0")
    expect(page.get_by_text("784-16-16-10, relu")).to_be_visible()
    held = Held(page, "validate_only")
    with page.expect_request(re.compile("validate_only")):
        page.get_by_label("units in each").fill("32")
    page.get_by_label("units in each").fill("8")
    expect(page.get_by_text("784-8-8-10, relu")).to_be_visible()
    held.let_go()
    settle(page)
    expect(page.get_by_text("784-8-8-10, relu")).to_be_visible()


def test_a_view_that_was_left_changes_neither_the_next_one_nor_its_address(
    page: Page, experiment: dict[str, Any]
) -> None:
    page.goto(f"/#/try?models={experiment['members'][-1]['job_id']}")
    held = Held(page, "/test/random")
    page.get_by_role("button", name="Random test digit").click()
    page.get_by_role("link", name="Models", exact=True).click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    held.let_go()
    settle(page)
    assert page.url.endswith("#/models")


def test_an_answer_that_comes_after_the_board_was_cleared_is_not_shown(page: Page, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/try?models={experiment['members'][-1]['job_id']}")
    held = Held(page, "/predict")
    page.get_by_role("button", name="Random test digit").click()
    expect(page).to_have_url(re.compile("digit="))
    page.get_by_role("button", name="Clear").click()
    held.let_go()
    settle(page)
    expect(page.locator(".answer")).to_have_count(0)
    assert "digit=" not in page.url


def test_jobs_that_are_gone_are_named_and_the_others_shown(browser: Browser, lab: Service) -> None:
    kept, gone = trained(lab), trained(lab, seed=1)
    assert lab.client.delete(f"/jobs/{gone}").status_code == httpx.codes.OK
    with visit(browser, lab.base_url, expected_complaints="status of 404") as page:
        page.goto(f"/#/watch?jobs={kept},{gone}")
        expect(page.get_by_text(f"Deleted: {gone}.")).to_be_visible()
        expect(page.locator("tbody .state")).to_have_text(["succeeded"])


def test_more_jobs_than_a_stream_follows_are_refused_with_the_limit(page: Page) -> None:
    page.goto(f"/#/watch?jobs={','.join(f'job_{number}' for number in range(101))}")
    expect(page.get_by_role("alert")).to_contain_text("choose at most 100")


def test_jobs_that_differ_in_anything_but_the_seed_have_names_and_curves_of_their_own(page: Page, lab: Service) -> None:
    relu = trained(lab, init={"scheme": "he_normal"})
    sigmoid = trained(
        lab, init={"scheme": "he_normal"}, architecture={"hidden": [8], "activation": "sigmoid"}, epochs=2
    )
    page.goto(f"/#/watch?jobs={relu},{sigmoid}")
    rows = page.locator("tbody tr")
    expect(rows.nth(0)).to_contain_text("he_normal, activation relu, epochs 1, seed 777")
    expect(rows.nth(0)).to_contain_text("1 of 1 epochs")
    expect(rows.nth(1)).to_contain_text("he_normal, activation sigmoid, epochs 2, seed 777")
    expect(rows.nth(1)).to_contain_text("2 of 2 epochs")
    expect(page.locator(".legend").first.locator("span")).to_have_count(2)


def test_a_comparison_says_how_many_members_it_counts(page: Page, lab: Service) -> None:
    body = {"base": TINY | {"epochs": 3000}, "schemes": ["he_normal"], "seeds": [0, 1]}
    made = lab.client.post("/experiments", json=body).json()
    lab.client.post(f"/experiments/{made['id']}/cancel")
    for member in made["members"]:
        wait_for_state(lab.client, member["job_id"], "cancelled")  # a running one ends at its next step
    page.goto(f"/#/understand?part=compare&experiment={made['id']}")
    expect(page.get_by_text(re.compile("^0 of 2 members have succeeded and are compared; 2 cancel"))).to_be_visible()


def test_a_retried_job_is_followed_again_after_all_had_ended(page: Page, lab: Service) -> None:
    fails = {"init": {"scheme": "normal", "std": 10}, "optimizer": {"name": "sgd", "lr": 10}, "epochs": 2}
    body = TINY | fails | {"architecture": {"hidden": [32, 32], "activation": "identity"}}
    job_id = lab.client.post("/jobs", json=body).json()["id"]
    wait_for_state(lab.client, job_id, "failed")
    page.goto(f"/#/watch?jobs={job_id}")
    expect(page.get_by_text("All have ended.")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Retry")).click()
    expect(page.locator("tbody td").nth(1)).to_contain_text("attempt 2")
    expect(page.locator("tbody .state")).to_have_text("failed")
    expect(page.get_by_text("All have ended.")).to_be_visible()


def test_a_wrong_alias_is_not_sent_and_not_said_to_be_set(page: Page, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/models?model={experiment['members'][0]['job_id']}")
    page.get_by_label("Give it a new alias").fill("BAD NAME")
    page.get_by_label("Give it a new alias").press("Enter")
    expect(page.get_by_text("No alias yet. Open a model to give it one.")).to_be_visible()
    expect(page.get_by_text("The alias is set.")).to_be_hidden()


def test_the_skip_link_leads_to_the_content_of_the_same_view(page: Page) -> None:
    page.goto("/#/watch")
    settle(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#/watch")


def test_the_focus_stays_on_a_button_whose_work_has_ended(page: Page, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/try?models={experiment['members'][-1]['job_id']}")
    pressed = page.get_by_role("button", name="Random test digit")
    pressed.press("Enter")
    expect(page.locator(".answer")).to_be_visible()
    expect(pressed).to_be_focused()


def test_the_theme_repaints_charts_and_weights(page: Page, experiment: dict[str, Any]) -> None:
    page.goto(f"/#/understand?part=weights&model={experiment['members'][-1]['job_id']}")
    tile = page.locator("canvas.tile").first
    light = tile.evaluate("one => one.toDataURL()")
    for _ in range(2):
        page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tile.evaluate("one => one.toDataURL()") != light
