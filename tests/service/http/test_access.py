"""Who may use the service: the key, the host that is named, the page that asks."""

from __future__ import annotations

import pytest

from models.errors import FaninError
from service.errors import HostNotAllowed, NotAuthenticated, OriginNotAllowed
from service.http.access import Access

KEY = "a key that is long enough"
LOCAL = {"host": "127.0.0.1:8000"}


def outcome(access: Access, method: str, path: str, **headers: str) -> type[FaninError] | None:
    """Return the error that a request raises, or None."""
    try:
        access.check(method, path, {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()})
    except FaninError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("localhost", None),
        ("LOCALHOST:8000", None),
        ("localhost.:8000", None),
        ("lab.localhost:8000", None),
        ("127.0.0.1:8000", None),
        ("127.9.9.9", None),
        ("[::1]:8000", None),
        ("named.example:80", None),
        ("evil.example:8000", HostNotAllowed),
        ("127.0.0.1.evil.example", HostNotAllowed),
        ("localhost.evil.example", HostNotAllowed),
        ("192.168.1.5:8000", HostNotAllowed),
        ("[fe80::1]:8000", HostNotAllowed),
        ("", HostNotAllowed),
    ],
)
def test_without_a_key_only_loopback_names_and_the_named_hosts_are_served(
    host: str, refused: type[FaninError] | None
) -> None:
    access = Access(None, ["Named.example"])
    assert outcome(access, "GET", "/jobs", host=host) is refused
    assert outcome(access, "GET", "/", host=host) is refused
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert outcome(access, "GET", path, host=host) is None


def test_a_star_allows_every_host_and_a_key_makes_the_host_irrelevant() -> None:
    assert outcome(Access(None, ["*"]), "GET", "/jobs", host="lab.example") is None
    assert outcome(Access(KEY), "GET", "/jobs", host="lab.example", authorization=f"Bearer {KEY}") is None
    assert outcome(Access(KEY), "GET", "/jobs", host="lab.example") is NotAuthenticated


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, None),
        ({"origin": "http://127.0.0.1:8000"}, None),
        ({"origin": "http://127.0.0.1:8000", "sec_fetch_site": "same-origin"}, None),
        ({"sec_fetch_site": "none"}, None),
        ({"origin": "https://lab.example"}, None),
        ({"origin": "https://proxy.example"}, None),
        ({"origin": "http://127.0.0.1:9000"}, OriginNotAllowed),
        ({"origin": "http://127.0.0.1:9000", "sec_fetch_site": "same-site"}, OriginNotAllowed),
        ({"origin": "https://evil.example"}, OriginNotAllowed),
        ({"origin": "https://evil.example", "sec_fetch_site": "cross-site"}, OriginNotAllowed),
        ({"origin": "null"}, OriginNotAllowed),
        ({"origin": ""}, None),
        ({"sec_fetch_site": "cross-site"}, OriginNotAllowed),
        ({"origin": "http://127.0.0.1:8000", "sec_fetch_site": "cross-site"}, OriginNotAllowed),
    ],
)
@pytest.mark.parametrize("key", [None, KEY])
def test_an_unsafe_request_of_a_foreign_page_is_refused_with_and_without_a_key(
    headers: dict[str, str], refused: type[FaninError] | None, key: str | None
) -> None:
    access = Access(key, ["proxy.example"], ["https://lab.example"])
    allowed = LOCAL | ({"authorization": f"Bearer {key}"} if key else {}) | headers
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert outcome(access, method, "/jobs", **allowed) is refused
    for method in ("GET", "HEAD", "OPTIONS"):
        assert outcome(access, method, "/jobs", **allowed) is None


@pytest.mark.parametrize(
    ("sent", "is_right"),
    [
        (f"Bearer {KEY}", True),
        (f"bearer {KEY}", True),
        (f"BEARER  {KEY} ", True),
        (KEY, False),
        (f"Basic {KEY}", False),
        (f"Bearer {KEY}x", False),
        (f"Bearer{KEY}", False),
        ("Bearer", False),
        ("", False),
    ],
)
def test_the_name_of_the_authorization_scheme_has_no_case_and_the_key_has(sent: str, is_right: bool) -> None:
    assert outcome(Access(KEY), "GET", "/jobs", authorization=sent) is (None if is_right else NotAuthenticated)
    assert outcome(Access(KEY.upper()), "GET", "/jobs", authorization=sent) is NotAuthenticated


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/docs", "/web/x.js"]
)
def test_health_checks_page_and_docs_need_no_key(path: str) -> None:
    assert outcome(Access(KEY), "GET", path) is None


@pytest.mark.parametrize("path", ["/v2", "/v2/models/x", "/v2/healthy", "/docsx", "/webx", "/jobs"])
def test_everything_else_needs_the_key(path: str) -> None:
    assert outcome(Access(KEY), "GET", path) is NotAuthenticated
