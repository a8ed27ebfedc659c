"""A real Chromium on the page, with a witness of all it complains of and all it asks for."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, ViewportSize, expect

from benchmarks.machines import wait_until

ROOT = Path(__file__).parents[2]
OPERATIONS: dict[str, dict[str, Any]] = json.loads((ROOT / "openapi" / "openapi.json").read_text())["paths"]
PAGE_FILES = re.compile(r"/|/web/[\w./-]+|/favicon\.ico")
DEADLINE_MS = 30_000.0
TRAINED_MS = 240_000.0
"""How long a few small networks may train on a machine whose cores are all busy."""
expect.set_options(timeout=DEADLINE_MS)

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
VIEWS = {
    "learn": "/#/learn?step=size",
    "learn-korean": "/#/learn?step=he&lang=ko",
    "start": "/#/start",
    "watch-all": "/#/watch",
    "watch": "/#/watch?experiment={experiment}",
    "understand-weights": "/#/understand?part=weights&model={job}",
    "understand-layers": "/#/understand?part=layers&model={job}",
    "understand-mistakes": "/#/understand?part=mistakes&model={job}",
    "understand-samples": "/#/understand?part=samples&model={job}",
    "understand-compare": "/#/understand?part=compare&experiment={experiment}",
    "understand-phase": "/#/understand?part=phase&activation=tanh",
    "understand-claims": "/#/understand?part=claims",
    "try": "/#/try?models={job},{zeros}&digit=8",
    "models": "/#/models?model={job}",
}
"""The views' addresses, with things to show in them."""


def chromium_path() -> str:
    """Return where Chromium is; skip the test where it is not."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs Chromium: `apt-get install chromium`, or CHROMIUM=/path/to/it")
    return path


def launch(playwright: Playwright, *arguments: str) -> Browser:
    """Start Chromium. Its sandbox needs privileges that containers and root do not have."""
    return playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", *arguments])


@dataclass
class Witness:
    """What a page has complained of and asked for."""

    base_url: str
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Listen to all pages of a context."""
        context.on("request", lambda request: self.requests.append(request))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )

    def check(self, *, expected_complaints: str | None = None) -> None:
        """Check that nothing was complained of but what was expected, and that all requests were to the public API."""
        unexpected = [
            one for one in self.complaints if not (expected_complaints and re.search(expected_complaints, one))
        ]
        assert not unexpected, "\n".join(unexpected)
        for request in self.requests:
            if request.url.startswith(("data:", "blob:")):
                continue
            assert request.url.startswith(f"{self.base_url}/"), f"another host was asked: {request.url}"
            address = urlsplit(request.url)
            if PAGE_FILES.fullmatch(address.path):
                continue
            known = parameters_of(request.method.lower(), address.path)
            assert known is not None, f"{request.method} {address.path} is not in openapi.json"
            assert {name for name, _ in parse_qsl(address.query)} <= known, request.url


def parameters_of(method: str, path: str) -> set[str] | None:
    """Return the names of the query parameters of the operation at a path; None if there is no such operation."""
    for template, operations in OPERATIONS.items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method in operations:
            return {one["name"] for one in operations[method].get("parameters", []) if one["in"] == "query"}
    return None


@contextmanager
def visit(browser: Browser, base_url: str, *, expected_complaints: str | None = None, **options: Any) -> Iterator[Page]:
    """Give a page in a fresh profile; in the end check its witness."""
    context = browser.new_context(base_url=base_url, **options)
    context.set_default_timeout(DEADLINE_MS)
    witness = Witness(base_url)
    witness.watch(context)
    page = context.new_page()
    try:
        yield page
        witness.check(expected_complaints=expected_complaints)
    finally:
        context.close()


def address_of(view: str, experiment: dict[str, Any]) -> str:
    """Return a view's address for an experiment whose first member has zeros and whose last has learned."""
    first, last = experiment["members"][0]["job_id"], experiment["members"][-1]["job_id"]
    return VIEWS[view].format(experiment=experiment["id"], job=last, zeros=first)


UNSETTLED = re.compile("^(Looking at|Connecting|Nothing is recorded yet)")


def settle(page: Page) -> None:
    """Wait until a view shows what it has: nothing loads, previews are made, and charts are drawn."""
    expect(page.locator("h1").first).to_be_visible()

    def is_settled() -> bool:
        loading = page.locator(".spinner").count() + page.get_by_text(UNSETTLED).count()
        undrawn = page.locator(".plot:not(.js-plotly-plot)").count()
        return loading + undrawn == 0

    wait_until(is_settled, what="the view to settle")


def points(page: Page, name: str) -> int:
    """Return how many points the lines of a chart have together."""
    figure = page.locator("figure.chart", has=page.get_by_role("heading", name=name, exact=True))
    count: int = figure.locator(".plot").evaluate(
        "plot => (plot.data ?? []).filter(one => one.mode?.includes('lines') && one.fill !== 'toself')"
        ".reduce((sum, one) => sum + one.x.length, 0)"
    )
    return count


def overlapping_charts(page: Page) -> list[str]:
    """Return the pairs of charts whose drawings lie on each other, by name."""
    pairs: list[str] = page.evaluate(
        """() => {
            const drawn = [...document.querySelectorAll(".plot.js-plotly-plot")].map((plot) => ({
                name: plot.getAttribute("aria-label"), box: plot.querySelector(".main-svg").getBoundingClientRect() }));
            const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
            return drawn.flatMap((first, index) => drawn.slice(index + 1)
                .filter((other) => !apart(first.box, other.box)).map((other) => `${first.name} | ${other.name}`));
        }"""
    )
    return pairs
