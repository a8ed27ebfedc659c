"""Requests to the service: sent again where that is safe, with errors as exceptions."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from fanin import errors
from fanin._sync.clock import sleep
from fanin.errors import ApiError, ConnectionFailed
from fanin.retries import RETRIED_STATUSES, may_repeat_after, pause_s
from fanin.version import VERSION

USER_AGENT = f"fanin-client/{VERSION} Python/{platform.python_version()}"


@dataclass(frozen=True)
class Transport:
    """Where the service is, and how requests are sent; several transports may share one pool of connections."""

    http: httpx.Client
    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    max_retries: int
    headers: Mapping[str, str]

    def request(
        self,
        method: str,
        template: str,
        path: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
    ) -> httpx.Response:
        """Send a request and return the response.

        It is sent again up to `max_retries` times, with growing pauses, after 429, 502, 503 and 504 and after a broken
        connection; if it is not repeatable, only if it cannot have arrived. Raises `ConnectionFailed`, and the class of
        `ApiError` of a status that is an error.
        """
        for attempt in range(1, self.max_retries + 2):
            is_last = attempt > self.max_retries
            request = self._built(method, template, path, query, body, content, headers)
            try:
                response = self.http.send(request)
            except httpx.TransportError as error:
                if is_last or not may_repeat_after(error, is_repeatable=is_repeatable):
                    raise self._unreachable(error) from error
                sleep(pause_s(attempt))
                continue
            if is_last or not is_repeatable or response.status_code not in RETRIED_STATUSES:
                break
            sleep(pause_s(attempt, response.headers.get("Retry-After")))
        return checked(response)

    @contextmanager
    def stream(
        self,
        template: str,
        path: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """Open the response to a GET, whose body is then read in pieces. Not sent again: the caller knows where it was.

        Raises the errors of httpx, and the class of `ApiError` of a status that is an error.
        """
        whole = {"Accept-Encoding": "identity", **(headers or {})}  # the bytes are counted and compared
        request = self._built("GET", template, path, query, None, None, whole)
        response = self.http.send(request, stream=True)
        try:
            if response.is_error:
                response.read()
            yield checked(response)
        finally:
            response.close()

    def _built(
        self,
        method: str,
        template: str,
        path: Mapping[str, object] | None,
        query: Mapping[str, Any] | None,
        body: Any,
        content: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Request:
        sent = {"User-Agent": USER_AGENT, "Accept": "application/json", **self.headers, **(headers or {})}
        if self.api_key is not None:
            sent["Authorization"] = f"Bearer {self.api_key}"
        if body is not None:
            sent["Content-Type"], content = "application/json", json.dumps(body).encode()
        asked = {name: _as_text(value) for name, value in (query or {}).items() if value is not None}
        filled = template.format_map({name: quote(str(value), safe="@") for name, value in (path or {}).items()})
        return self.http.build_request(
            method, self.base_url + filled, params=asked, content=content, headers=sent, timeout=self.timeout_s
        )

    def _unreachable(self, error: httpx.TransportError) -> ConnectionFailed:
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        return ConnectionFailed(
            f"The service at {self.base_url} cannot be reached ({why}). Is it running? `fanin serve` starts one on "
            "this machine; FANIN_URL names another."
        )


def checked(response: httpx.Response) -> httpx.Response:
    """Return a response. Raises the class of `ApiError` of its status if that is an error."""
    if not response.is_error:
        return response
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": f"{response.status_code} {response.reason_phrase}: {response.text[:500]}".rstrip(": ")}
    known: type[ApiError] = errors.of_status(response.status_code)
    raise known(response.status_code, problem if isinstance(problem, dict) else {}, response.headers)


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
