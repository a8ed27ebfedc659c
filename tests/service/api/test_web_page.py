"""How the page's files are served, and what they may and may not hold. No browser."""

from __future__ import annotations

import gzip
import json
import re
from importlib.metadata import distribution, version
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from service.api.routes.web_page import WEB
from service.settings import Settings
from tests.service.conftest import Api, problem

HEAVIEST_PAGE_BYTES = 125_000
HEAVIEST_FIRST_VIEW_BYTES = 45_000
"""As sent: compressed. Plotly is not counted."""
OPENAPI = json.loads((Path(__file__).parents[3] / "openapi" / "openapi.json").read_text())["paths"]
FILES = sorted(path for path in WEB.rglob("*") if path.is_file())
MODULES = [path for path in FILES if path.suffix == ".js"]
INDEX = (WEB / "index.html").read_text()


def test_the_page_may_run_no_inline_code_and_ask_no_other_host(api: httpx.Client) -> None:
    response = api.get("/")
    assert response.headers["content-type"].startswith("text/html")
    policy = dict(one.split(" ", 1) for one in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    everything = " ".join(policy.values())
    assert "'unsafe-inline'" not in everything
    assert "'unsafe-eval'" not in everything
    assert re.fullmatch(r"'self' 'unsafe-hashes'( 'sha256-[\w+/=]{44}'){3}", policy["style-src"])


def test_plotly_comes_from_the_installed_package_compressed_and_for_good(api: httpx.Client) -> None:
    found = api.get("/web/plotly.min.js")
    assert found.headers["location"] == f"/web/plotly-{version('plotly')}.min.js"
    with api.stream("GET", found.headers["location"], headers={"Accept-Encoding": "gzip"}) as response:
        compressed = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert "immutable" in response.headers["cache-control"]
    installed = Path(str(distribution("plotly").locate_file("plotly/package_data/plotly.min.js"))).read_bytes()
    assert gzip.decompress(compressed) == installed
    assert len(compressed) < len(installed) / 3
    assert api.get(found.headers["location"], headers={"Accept-Encoding": "identity"}).content == installed
    problem(api.get("/web/plotly-0.0.1.min.js"), 404, "not-found")


def test_own_files_are_compressed_and_asked_for_again_only_if_they_have_changed(api: httpx.Client) -> None:
    response = api.get("/web/main.js", headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.headers["cache-control"] == "no-cache"
    again = api.get("/web/main.js", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == httpx.codes.NOT_MODIFIED


def test_a_file_that_is_not_the_pages_is_not_given(api: httpx.Client) -> None:
    for path in ("/web/nothing.js", "/web/..%2fapp.py", "/web/%2e%2e/app.py", "/web/"):
        problem(api.get(path), 404, "no-such-path")


def test_the_page_is_given_without_the_key_and_what_it_shows_is_not(settings: Settings) -> None:
    with Api(settings.model_copy(update={"api_key": SecretStr("a secret of a test")})) as client:
        for path in ("/", "/web/main.js", "/web/plotly.min.js"):
            assert client.get(path).status_code in (httpx.codes.OK, httpx.codes.TEMPORARY_REDIRECT)
        problem(client.get("/jobs"), 401, "not-authenticated")
        problem(client.get("/webs"), 401, "not-authenticated")


def test_the_page_without_plotly_is_light() -> None:
    assert sum(len(gzip.compress(path.read_bytes())) for path in FILES) <= HEAVIEST_PAGE_BYTES


def test_the_first_view_is_lighter_still() -> None:
    needed = set(re.findall(r'(?:href|src)="/web/([\w/.]+)"', INDEX))
    assert len(needed) > 20
    size = sum(len(gzip.compress((WEB / name).read_bytes())) for name in needed) + len(gzip.compress(INDEX.encode()))
    assert size <= HEAVIEST_FIRST_VIEW_BYTES


def test_every_request_of_the_page_is_an_operation_of_the_api() -> None:
    text = (WEB / "lib" / "api.js").read_text()
    calls = re.findall(r'call\(\s*"(\w+)",\s*["`]([^"`]+)["`]', text)
    assert len(calls) == len(re.findall(r"\bcall\(", text)) - 1  # one is its definition
    for method, path in calls:
        template = re.sub(r"\$\{safe\((\w+)\)\}", "{}", path)
        known = {re.sub(r"\{\w+\}", "{}", one) for one, operations in OPENAPI.items() if method.lower() in operations}
        assert template in known, f"{method} {path}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(WEB).as_posix())
def test_a_module_asks_through_the_api_file_alone_and_makes_no_markup_of_text(path: Path) -> None:
    text = path.read_text()
    if path.name != "api.js":
        assert not re.search(r"\bfetch\(|XMLHttpRequest|new EventSource|new WebSocket|sendBeacon", text)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text
    )
    named = [] if path.name == "steps.js" else re.findall(r"https?://[^\"]*", text)  # the lesson links to its sources
    assert set(named) <= {"http://www.w3.org/1998/Math/MathML", "http://www.w3.org/2000/svg"}, "names, not addresses"
    assert text.startswith("/**"), "a module says first what it is about"


def needed_by(*names: str) -> set[str]:
    """Return modules and all that they import, in turn."""
    found, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        for imported in re.findall(r'from "(\.{1,2}/[\w/.]+)"', (WEB / name).read_text()):
            other = (WEB / name).parent.joinpath(imported).resolve().relative_to(WEB).as_posix()
            waiting += [other] if other not in found else []
    return found


def test_what_the_first_view_needs_is_asked_for_at_once() -> None:
    named = set(re.findall(r'(?:modulepreload" href|script type="module" src)="/web/([\w/.]+)"', INDEX))
    assert named == needed_by("main.js", "views/learn.js")
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", INDEX)


def test_all_modules_are_used() -> None:
    imported = {
        (path.parent / name).resolve()
        for path in MODULES
        for name in re.findall(r'(?:from |import\()"(\.{1,2}/[\w/.]+)"', path.read_text())
    }
    views = {WEB / "views" / f"{name}.js" for name in re.findall(r"(\w+): \"", (WEB / "main.js").read_text())}
    assert {path for path in MODULES if path.name != "main.js"} <= imported | views
