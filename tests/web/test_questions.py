"""The ten questions of a new reader in docs/how-to/use-the-lab.md: the page answers each as the table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Service, wait_for_state
from tests.web.browsing import visit
from tests.web.conftest import TRAINED

pytestmark = pytest.mark.e2e

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "use-the-lab.md"
EXPERIMENT = "zeros, he_normal; 2 seeds"


def questions() -> list[tuple[str, list[str], str]]:
    """Return (question, names to press, answer) of each row of the table."""
    section = DOCUMENT.read_text().split("## Ten questions of a new reader\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+\?.*) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    return [(question, re.split(rf", (?={EXPERIMENT}|[A-Z])", presses), answer) for question, presses, answer in rows]


@pytest.fixture(scope="module")
def reader(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("reader")
    with Service(folder, folder / "no-data") as service:
        made = service.client.post("/experiments", json=TRAINED).raise_for_status().json()
        for member in made["members"]:
            wait_for_state(service.client, member["job_id"], "succeeded")
        with visit(browser, service.base_url) as page:
            yield page


def test_there_are_ten_questions() -> None:
    assert len(questions()) == 10


@pytest.mark.parametrize(("question", "presses", "answer"), questions(), ids=[row[0] for row in questions()])
def test_the_page_answers_within_two_presses(reader: Page, question: str, presses: list[str], answer: str) -> None:
    assert len(presses) <= 2
    reader.goto("/")
    for name in presses:
        reader.get_by_role("link", name=re.compile(f"^{name}")).first.click()
    expect(reader.get_by_text(answer).first).to_be_visible()
