"""How quickly the page loads, how large it is, and whether it stays responsive with 64 members and 200 jobs.

Measured in a fresh profile of Chromium over loopback: the time until the start form can be used (its button is enabled)
and until its previews are drawn, as medians of the visits. Then the longest task of the page's main thread (a person
notices 100 ms) while an experiment of 64 members trains, while 200 jobs are listed, and while the curves of 16 members
are played again, with the frames a second.
"""

from __future__ import annotations

import argparse
import gzip
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.machines import wait_until
from benchmarks.report import print_table, write_json
from service.api.routes.web_page import WEB
from tests.e2e.conftest import Service
from tests.web.browsing import launch, points, settle, visit

FIRST_VIEW_LIMIT_S = 1.0
OWN_FILES_LIMIT_KB = 125.0
BASE = {"architecture": {"hidden": [64]}, "data": "mnist_5k", "epochs": 4, "test_curve": True}
SCHEMES = ["he_normal", "xavier_uniform", "lecun_normal", "zeros"]
ENTRIES = "performance.getEntriesByType('resource')"
OWN_SENT = f"{ENTRIES}.filter(one => /web\\/(?!plotly)/.test(one.name)).map(one => one.encodedBodySize)"
LONG_TASKS = (
    "globalThis.longTasks = [];"
    "new PerformanceObserver(list => longTasks.push(...list.getEntries().map(one => one.duration)))"
    ".observe({ type: 'longtask', buffered: true });"
)


FRAMES_A_SECOND = """() => new Promise((resolve) => {
  const started = performance.now();
  let frames = 0;
  const count = () => {
    frames += 1;
    const passed = performance.now() - started;
    if (passed < 6000) requestAnimationFrame(count);
    else resolve((1000 * frames) / passed);
  };
  requestAnimationFrame(count);
})"""


def main() -> None:
    """Measure, print the table, write JSON; exit with status 1 if a bound is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        home, browser = Path(name), launch(playwright)
        with Service(home, home / "no-data") as service:
            first = [first_view(browser, service) for _ in range(options.visits)]
            results = {what: round(statistics.median(view[what] for view in first), 3) for what in first[0]}
            results |= crowded(browser, service)
    files = [path.read_bytes() for path in WEB.rglob("*") if path.is_file()]
    results["all_own_files_compressed_kb"] = round(sum(len(gzip.compress(content)) for content in files) / 1e3, 1)
    print_table(["what", "measured"], [[name, str(value)] for name, value in results.items()])
    write_json("web", "make bench-web", {"visits": options.visits, "page": results})
    if results["usable_s"] > FIRST_VIEW_LIMIT_S or results["all_own_files_compressed_kb"] > OWN_FILES_LIMIT_KB:
        raise SystemExit(1)


def first_view(browser: Browser, service: Service) -> dict[str, float]:
    """Open the page in a fresh profile with an empty cache; return when it was usable and drawn, and the kB sent."""
    with visit(browser, service.base_url) as page:
        started = time.perf_counter()
        page.goto("/", wait_until="commit")
        page.get_by_role("radio").first.wait_for()
        usable_s = time.perf_counter() - started
        paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        first_kb = sum(page.evaluate(OWN_SENT)) / 1e3
        started = time.perf_counter()
        page.goto("/#/start")
        page.get_by_role("button", name=re.compile("^Train [0-9]+ models")).wait_for()
        settle(page)
        drawn_s = time.perf_counter() - started
        plotly = page.evaluate(
            f"{ENTRIES}.filter(one => /plotly-?[\\d.]*min/.test(one.name)).map(one => one.encodedBodySize)"
        )
    return {
        "first_paint_s": paint_ms / 1e3,
        "usable_s": usable_s,
        "start_with_previews_s": drawn_s,
        "own_files_compressed_kb": first_kb,
        "plotly_compressed_kb": max(plotly) / 1e3,
    }


def crowded(browser: Browser, service: Service) -> dict[str, float]:
    """Watch 64 members train, all in view, then page through 200 jobs; return the longest tasks, in ms."""
    experiments = [
        service.client.post(
            "/experiments", json={"base": BASE, "schemes": SCHEMES, "seeds": [*range(first, first + 16)]}
        )
        for first in (0, 16, 32, 48)
    ]
    experiment_id = experiments[0].raise_for_status().json()["id"]
    with visit(browser, service.base_url) as page:
        page.add_init_script(LONG_TASKS)
        page.goto(f"/#/watch?experiment={experiment_id}&rows=all")
        page.locator("tbody tr").nth(63).wait_for()
        wait_until(lambda: points(page, "Training loss") >= 2, what="points")
        at_first = longest_since_start(page)
        page.get_by_text("All have ended.").wait_for(timeout=300_000)
        during = longest_since_start(page)
        page.goto("/#/watch")
        page.locator("section[aria-label=Jobs] tbody tr").nth(24).wait_for()
        for _ in range(6):
            page.get_by_role("button", name="Older").last.click()
            settle(page)
        listing = longest_since_start(page)
        replayed = replay(page, service)
    return replayed | {
        "longest_task_loading_ms": at_first,
        "longest_task_64_members_training_ms": during,
        "longest_task_200_jobs_ms": listing,
    }


def replay(page: Page, service: Service) -> dict[str, float]:
    """Play the recorded curves of 16 members again; return the frames a second meanwhile and the longest task in ms."""
    body = {"base": BASE, "schemes": SCHEMES, "seeds": [100, 101, 102, 103]}
    experiment = service.client.post("/experiments", json=body).raise_for_status().json()
    page.goto(f"/#/watch?experiment={experiment['id']}")
    page.get_by_text("All have ended.").wait_for(timeout=300_000)
    settle(page)
    longest_since_start(page)
    page.get_by_role("button", name="Play again").click()
    frames: float = page.evaluate(FRAMES_A_SECOND)
    return {"replay_frames_a_second": round(frames, 1), "longest_task_replay_ms": longest_since_start(page)}


def longest_since_start(page: Page) -> float:
    """Return the longest task since the last call, in ms; 0 if none took 50 ms."""
    longest: Any = page.evaluate("Math.round(Math.max(0, ...longTasks.splice(0)))")
    return float(longest)


if __name__ == "__main__":
    main()
