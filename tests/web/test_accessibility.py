"""What axe-core finds on each view, light and dark: nothing serious."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Service
from tests.web.browsing import DESKTOP, PHONE, VIEWS, address_of, settle, visit

pytestmark = pytest.mark.e2e


LIGHT = [(view, "light", DESKTOP) for view in VIEWS]
DARK = [(view, "dark", PHONE) for view in list(VIEWS)[::5]]
"""Colours and widths are those of the whole page: a quarter of the views shows what is wrong with them."""


@pytest.mark.parametrize(
    ("view", "scheme", "size"), LIGHT + DARK, ids=lambda part: part if isinstance(part, str) else ""
)
def test_axe_finds_nothing_serious(
    browser: Browser, lab: Service, experiment: dict[str, Any], view: str, scheme: str, size: dict[str, int]
) -> None:
    with visit(browser, lab.base_url, color_scheme=scheme, viewport=size, bypass_csp=True) as page:
        page.goto(address_of(view, experiment))
        settle(page)
        found = Axe().run(page).response["violations"]
        grave = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found if is_grave(one)]
        assert not grave
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"


def is_grave(violation: dict[str, Any]) -> bool:
    return violation["impact"] in ("serious", "critical")


def test_axe_would_find_something(browser: Browser, lab: Service) -> None:
    with visit(browser, lab.base_url, bypass_csp=True) as page:
        page.goto("/#/start")
        expect(page.get_by_role("heading", name="What does initialization do?")).to_be_visible()
        page.evaluate("document.querySelector('main').append(document.createElement('input'))")
        assert any(is_grave(one) for one in Axe().run(page).response["violations"])


@pytest.mark.parametrize("view", ["learn", "start", "watch", "understand", "try", "models"])
def test_each_view_has_one_first_heading_and_says_its_name(page: Page, experiment: dict[str, Any], view: str) -> None:
    page.goto(f"/#/{view}")
    settle(page)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert page.title().lower().startswith(view)
    expect(page.locator("nav [aria-current=page]").first).to_have_text(view.capitalize())
