"""One service and one browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.e2e.conftest import Service, wait_for_state
from tests.web.browsing import launch, visit

TRAINED = {
    "base": {"architecture": {"hidden": [32, 32]}, "data": "mnist_5k", "epochs": 4, "test_curve": True},
    "schemes": ["zeros", "he_normal"],
    "seeds": [0, 1],
}


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with the 5,000 digits."""
    folder = tmp_path_factory.mktemp("lab")
    with Service(folder, folder / "no-data") as service:
        yield service


@pytest.fixture(scope="session")
def experiment(lab: Service) -> dict[str, Any]:
    """An experiment on it that has ended: zeros and he_normal, two seeds each."""
    found: dict[str, Any] = lab.client.post("/experiments", json=TRAINED).raise_for_status().json()
    for member in found["members"]:
        wait_for_state(lab.client, member["job_id"], "succeeded")
    return found


@pytest.fixture
def page(browser: Browser, lab: Service) -> Iterator[Page]:
    """A page that may complain of nothing and ask for nothing but the public API of its own service."""
    with visit(browser, lab.base_url) as page:
        yield page
