"""Take pictures of the views on a service that has trained something: `python -m tests.web.screenshots FOLDER`.

Desktop and phone, light and dark, and printed. In the README stand `watch-desktop-light`, `try-desktop-light` and a
step of the lesson after its run.
"""

from __future__ import annotations

import os
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from models.data.mnist import is_here
from tests.e2e.conftest import Service, wait_for_state
from tests.web.browsing import DESKTOP, PHONE, VIEWS, address_of, launch, settle, visit

SHOWN = {
    "base": {"architecture": {"hidden": [128] * 8}, "epochs": 6, "test_curve": True},
    "schemes": ["zeros", "torch_default", "xavier_uniform", "he_normal"],
    "seeds": [0, 1, 2],
}
SIZES = {"desktop": DESKTOP, "phone": PHONE}


def take_all(folder: Path) -> None:
    """Train what is to be shown, and write a PNG of each view, size and colour scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    data_dir = Path(os.environ.get("FANIN_DATA_DIR", "data")).resolve()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        with (
            Service(home, data_dir if is_here(data_dir) else home / "no-data") as service,
            sync_playwright() as playwright,
        ):
            experiment = trained(service)
            browser = launch(playwright)
            for view, size, scheme in product(VIEWS, SIZES, ("light", "dark")):
                options: dict[str, Any] = {"viewport": SIZES[size], "color_scheme": scheme}
                with visit(browser, service.base_url, **options) as page:
                    page.goto(address_of(view, experiment))
                    settle(page)
                    page.screenshot(path=folder / f"{view}-{size}-{scheme}.png", full_page=True)
                    if (size, scheme) == ("desktop", "dark"):  # paper is light
                        page.emulate_media(media="print", color_scheme="light")
                        settle(page)
                        page.screenshot(path=folder / f"{view}-print.png", full_page=True)


def trained(service: Service) -> dict[str, Any]:
    """Train an experiment and a recipe, set an alias, and return the experiment."""
    experiment: dict[str, Any] = service.client.post("/experiments", json=SHOWN).raise_for_status().json()
    recipe = service.client.post("/experiments", json={"recipe": "R4"}).raise_for_status().json()
    for member in [*experiment["members"], *recipe["members"]]:
        wait_for_state(service.client, member["job_id"], "succeeded", limit_s=300)
    job_id = experiment["members"][-1]["job_id"]
    service.client.put("/aliases/champion", json={"model": job_id}).raise_for_status()
    return experiment


if __name__ == "__main__":
    take_all(Path(sys.argv[1]))
