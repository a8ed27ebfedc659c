"""Which requests may use the service: by the key, the host that they name, and the page that sent them.

Without a key, any page in a browser on this machine could use the service: directly, or under a name of its own that
it points at this machine (DNS rebinding). A browser always says which host a request is for (`Host`), and for unsafe
methods which page sent it (`Origin`, `Sec-Fetch-Site`); a page cannot change these headers. Clients that are no
browsers send neither `Origin` nor `Sec-Fetch-Site`, and are not affected.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from functools import lru_cache

from service.errors import HostNotAllowed, NotAuthenticated, OriginNotAllowed
from service.settings import is_loopback

OPEN_PATHS = ("/healthz", "/readyz", "/docs", "/openapi.json", "/static-docs", "/web", "/v2/health")
HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ANY_HOST = "*"
SCHEME = b"bearer "


class Access:
    """The rules of one service: its key, the names that it is reached by, the origins of other pages that may use it.

    `key` None means that no key is required; then only loopback names and `hosts` are served. `hosts` are host names
    without ports, and may contain `*`. `origins` are those of FANIN_CORS_ORIGINS, such as `https://lab.example.org`.
    """

    def __init__(self, key: str | None, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._key = None if key is None else key.encode("ascii")
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._is_served = lru_cache(maxsize=256)(self._is_served_name)

    def check(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Raise `NotAuthenticated`, `HostNotAllowed` or `OriginNotAllowed`; `headers` has names in lower case."""
        if self._key is not None:
            if not _is_open(path) and not self._has_key(headers.get(b"authorization", b"")):
                raise NotAuthenticated(
                    "This service needs a key.",
                    "Send the header `Authorization: Bearer <key>` with the value of FANIN_API_KEY.",
                )
        elif b"host" in headers and not self._is_served(headers[b"host"]) and path not in HEALTH_PATHS:
            name = _name_of(headers[b"host"])
            raise HostNotAllowed(
                f"Without a key this service is reached by loopback names only; the request is for {name!r}.",
                "Use http://127.0.0.1, set FANIN_API_KEY, or add the name to FANIN_ALLOWED_HOSTS.",
            )
        if method not in SAFE_METHODS and (b"origin" in headers or b"sec-fetch-site" in headers):
            self._check_page(headers)

    def _has_key(self, sent: bytes) -> bool:
        """Return whether a header holds the key; the scheme's name has no case (RFC 9110, section 11.1)."""
        assert self._key is not None
        # `compare_digest` takes equally long for every wrong key.
        return sent[: len(SCHEME)].lower() == SCHEME and secrets.compare_digest(sent[len(SCHEME) :].strip(), self._key)

    def _check_page(self, headers: dict[bytes, bytes]) -> None:
        site = headers.get(b"sec-fetch-site", b"")
        if site in (b"same-origin", b"none"):
            return
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin in self._origins or ANY_HOST in self._origins:
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        _, _, place = origin.lower().partition("://")
        is_own = bool(place) and (place == host or _name_of(place.encode("latin-1")) in self._hosts)
        if site == b"cross-site" or (origin and not is_own):
            raise OriginNotAllowed(
                f"A page of another site ({origin or 'not named'}) sent this request.",
                "Only this service's own page may change something; FANIN_CORS_ORIGINS adds other origins.",
            )

    def _is_served_name(self, host: bytes) -> bool:
        name = _name_of(host)
        return name == "localhost" or is_loopback(name) or name.endswith(".localhost") or self._lists(name)

    def _lists(self, name: str) -> bool:
        return name in self._hosts or ANY_HOST in self._hosts


def _name_of(host: bytes) -> str:
    """Return the name or address of a `Host` header: without the port, brackets and a final dot, in lower case."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def _is_open(path: str) -> bool:
    return path == "/" or any(path == open_path or path.startswith(f"{open_path}/") for open_path in OPEN_PATHS)
