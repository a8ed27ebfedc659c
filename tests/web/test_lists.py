"""A list of jobs is narrowed down, put in order and cleared up; a job and an experiment get names and labels."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Service
from tests.web.browsing import PHONE, visit

SPEC = {"architecture": {"hidden": [8]}, "data": "mnist_5k", "epochs": 1}


@pytest.fixture(scope="module")
def labelled(lab: Service) -> list[dict[str, Any]]:
    """Two jobs of the course `lists`, one good and one that learned nothing, that have ended."""
    bodies = (
        SPEC | {"name": "Good start", "labels": {"course": "lists"}},
        SPEC | {"init": {"scheme": "zeros"}, "labels": {"course": "lists"}},
    )
    jobs = [lab.client.post("/jobs", json=body, headers={"Prefer": "wait=60"}).json() for body in bodies]
    assert [job["state"] for job in jobs] == ["succeeded"] * 2
    return jobs


def rows(page: Page) -> Any:
    return page.get_by_role("region", name="Jobs in rows").locator("tbody tr")


def test_jobs_are_found_by_label_in_the_order_that_is_chosen(labelled: list[dict[str, Any]], page: Page) -> None:
    page.goto("/#/watch")
    page.get_by_label("Label").fill("course:lists")
    page.get_by_label("Label").press("Enter")
    expect(rows(page)).to_have_count(2)
    expect(rows(page).nth(0)).to_contain_text("zeros, 784-8-10")
    expect(rows(page).nth(0)).to_contain_text("course: lists")
    page.get_by_label("Order").select_option("most accurate first")
    expect(rows(page).nth(0)).to_contain_text("Good start")
    expect(rows(page).nth(0)).to_contain_text(f"{100 * labelled[0]['accuracy']:.1f}")
    page.get_by_label("Scheme").select_option("zeros")
    expect(rows(page)).to_have_count(1)
    page.reload()
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_label("Scheme")).to_have_value("zeros")
    expect(page.get_by_label("Label")).to_have_value("course:lists")
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_text("No job is like that.")).to_be_visible()


def test_pages_of_a_sorted_list_follow_each_other(labelled: list[dict[str, Any]], lab: Service, page: Page) -> None:
    for seed in range(26):
        lab.client.post("/jobs", json=SPEC | {"epochs": 0, "seed": seed, "labels": {"course": "pages"}})
    page.goto("/#/watch?label=course:pages&sort=loss")
    expect(rows(page)).to_have_count(25)
    page.get_by_role("button", name="Next").click()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("button", name="First").click()
    expect(rows(page)).to_have_count(25)


def test_a_table_is_saved_as_it_stands_without_what_is_only_pressed(labelled: list[dict[str, Any]], page: Page) -> None:
    page.goto("/#/watch?label=course:lists&sort=-accuracy")
    expect(rows(page)).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Jobs in rows as CSV").click()
    assert download.value.suggested_filename == "jobs-in-rows.csv"
    table = list(csv.DictReader(io.StringIO(download.value.path().read_text(), newline="")))
    assert list(table[0]) == ["Model", "State", "Progress", "Loss (nats)", "Accuracy"]
    assert table[0]["Model"].split() == ["Good", "start", "course:", "lists"]
    assert table[0]["Accuracy"] == f"{100 * labelled[0]['accuracy']:.2f} %"


def test_a_job_gets_a_name_a_note_and_labels_that_stay(labelled: list[dict[str, Any]], page: Page) -> None:
    job_id = labelled[1]["id"]
    page.goto(f"/#/watch?jobs={job_id}")
    page.get_by_text("Name, note and labels").click()
    page.get_by_label("Name", exact=True).fill("Zeros, for the record")
    page.get_by_label("Note").fill("All units stay alike.\nSee lesson 2.")
    page.get_by_label("Labels").fill("course:lists, nonsense")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("“nonsense” is no label: write key:value.")).to_be_visible()
    page.get_by_label("Labels").fill("course:lists, week:2")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Zeros, for the record")
    expect(page.get_by_text("week: 2")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Zeros, for the record")
    expect(page.get_by_text("See lesson 2.").first).to_be_visible()
    page.get_by_text("Name, note and labels").click()
    page.get_by_label("Labels").fill("course:lists")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("week: 2")).to_have_count(0)


def test_an_edit_of_an_old_state_is_refused_in_words(
    lab: Service, labelled: list[dict[str, Any]], browser: Browser
) -> None:
    job_id = labelled[0]["id"]
    with visit(browser, lab.base_url, expected_complaints="412") as page:
        page.goto(f"/#/watch?jobs={job_id}")
        page.get_by_text("Name, note and labels").click()
        lab.client.patch(f"/jobs/{job_id}", json={"note": "from elsewhere"}).raise_for_status()
        page.get_by_label("Name", exact=True).fill("too late")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("It has been changed elsewhere.")).to_be_visible()
    assert lab.job(job_id)["name"] == "Good start"


def test_an_experiment_is_named(lab: Service, experiment: dict[str, Any], page: Page) -> None:
    page.goto(f"/#/watch?experiment={experiment['id']}")
    page.get_by_text("Name, note and labels").click()
    page.get_by_label("Name", exact=True).fill("Zeros against He")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Zeros against He")
    page.goto("/#/watch")
    expect(page.get_by_role("link", name="Zeros against He", exact=True)).to_be_visible()
    lab.client.patch(f"/experiments/{experiment['id']}", json={"name": None}).raise_for_status()


def test_jobs_of_a_filter_are_deleted_after_a_look_at_which(lab: Service, browser: Browser) -> None:
    kept, *gone = (
        lab.client.post("/jobs", json=SPEC | {"seed": seed, "labels": {"course": "gone"}}).json()["id"]
        for seed in range(3)
    )
    for job_id in (kept, *gone):
        lab.wait_for_state(job_id, "succeeded")
    lab.client.put("/aliases/kept-for-lists", json={"model": kept}).raise_for_status()
    with visit(browser, lab.base_url, viewport=PHONE) as page:
        page.goto("/#/watch")
        expect(page.get_by_role("button", name="Delete these …")).to_be_disabled()
        page.get_by_label("Label").fill("course:gone")
        page.get_by_label("Label").press("Enter")
        expect(rows(page)).to_have_count(3)
        page.get_by_role("button", name="Delete these …").press("Enter")
        dialog = page.get_by_role("dialog", name="Delete jobs")
        expect(dialog).to_contain_text("2 jobs of label course:gone")
        expect(dialog).to_contain_text("kept-for-lists")
        expect(dialog.get_by_role("button", name="Keep them")).to_be_focused()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(rows(page)).to_have_count(3)
        page.get_by_role("button", name="Delete these …").click()
        dialog.get_by_role("button", name="Delete 2 jobs").click()
        expect(rows(page)).to_have_count(1)
    assert [lab.client.get(f"/jobs/{job_id}").status_code for job_id in (kept, *gone)] == [200, 404, 404]
    lab.client.delete("/aliases/kept-for-lists")
