"""Pages of other sites, and names that others point at this machine, cannot use a service without a key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright

from tests.e2e.conftest import Service
from tests.web.browsing import launch

REBOUND = "rebound.example"
SENT = """async ([url, method, type]) => {
    const headers = type ? {"Content-Type": type} : {};
    const body = method === "GET" ? undefined : new Blob(['{"epochs": 0, "data": "mnist_5k"}']);
    try {
        const answer = await fetch(url, {method, headers, body, mode: MODE});
        return answer.type === "opaque" ? "opaque" : answer.status;
    } catch (error) { return "refused"; }
}"""


class Blank(BaseHTTPRequestHandler):
    """Answers every request with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Write no log."""


@pytest.fixture(scope="module")
def foreign() -> Iterator[str]:
    """The address of another site on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Blank) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://foreign.example:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def rebinding_browser(playwright: Playwright) -> Iterator[Browser]:
    """A browser for which every name of `.example` is this machine."""
    browser = launch(playwright, "--host-resolver-rules=MAP *.example 127.0.0.1")
    yield browser
    browser.close()


@pytest.mark.parametrize("mode", ["no-cors", "cors"])
def test_a_foreign_page_can_submit_nothing_and_delete_nothing(
    mode: str, rebinding_browser: Browser, foreign: str, lab: Service
) -> None:
    kept = lab.client.post("/jobs", json={"epochs": 0, "data": "mnist_5k"}).raise_for_status().json()["id"]
    lab.wait_for_state(kept, "succeeded")
    before = [job["id"] for job in lab.client.get("/jobs").json()["data"]]
    page = rebinding_browser.new_page()
    page.goto(foreign)
    script = SENT.replace("MODE", f'"{mode}"')
    for kind in ("", "text/plain", "application/json"):
        assert page.evaluate(script, [f"{lab.base_url}/jobs", "POST", kind]) in ("refused", "opaque", 403)
    for path in (f"/jobs/{kept}", f"/jobs/{kept}/cancel"):
        assert page.evaluate(script, [lab.base_url + path, "POST", ""]) in ("refused", "opaque", 403)
    assert page.evaluate(script, [f"{lab.base_url}/jobs/{kept}", "DELETE", ""]) == "refused"
    page.close()
    assert [job["id"] for job in lab.client.get("/jobs").json()["data"]] == before


def test_a_name_that_is_pointed_at_this_machine_reads_and_changes_nothing(
    rebinding_browser: Browser, lab: Service
) -> None:
    address = f"http://{REBOUND}:{lab.base_url.rpartition(':')[2]}"
    page = rebinding_browser.new_page()
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == 403
    script = SENT.replace("MODE", '"same-origin"')
    assert page.evaluate(script, [f"{address}/jobs", "GET", ""]) == 403
    assert page.evaluate(script, [f"{address}/jobs", "POST", "application/json"]) == 403
    assert page.evaluate(script, [f"{address}/healthz", "GET", ""]) == 200
    page.close()
