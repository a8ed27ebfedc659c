"""Requests to the service: sent again where that is safe, with errors as exceptions."""

from __future__ import annotations

import json
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from fanin import errors
from fanin._async.clock import sleep
from fanin.bodies import id_of
from fanin.errors import ApiError, BadAnswer, ConnectionFailed, Moved
from fanin.retries import NEVER_ARRIVED, RETRIED_STATUSES, may_repeat_after, pause_s
from fanin.version import VERSION

USER_AGENT = f"fanin-client/{VERSION} Python/{platform.python_version()}"


@dataclass(frozen=True)
class AsyncTransport:
    """Where the service is, and how requests are sent; several transports may share one pool of connections."""

    http: httpx.AsyncClient
    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    max_retries: int
    headers: Mapping[str, str]

    async def answer(self, method: str, template: str, path: Mapping[str, object] | None = None, **options: Any) -> Any:
        """Return the object of JSON that a request is answered with. Raises as `request` does, and `BadAnswer`."""
        return answer_in(await self.request(method, template, path, **options))

    async def request(
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
                response = await self.http.send(request)
            except httpx.TransportError as error:
                if is_last or not may_repeat_after(error, is_repeatable=is_repeatable):
                    raise self._failed(error) from error
                await sleep(pause_s(attempt))
                continue
            if is_last or not is_repeatable or response.status_code not in RETRIED_STATUSES:
                break
            await sleep(pause_s(attempt, response.headers.get("Retry-After")))
        return checked(response)

    @asynccontextmanager
    async def stream(
        self,
        template: str,
        path: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Open the response to a GET, whose body is then read in pieces. Not sent again: the caller knows where it was.

        Raises the errors of httpx, and the class of `ApiError` of a status that is an error.
        """
        whole = {"Accept-Encoding": "identity", **(headers or {})}  # the bytes are counted and compared
        request = self._built("GET", template, path, query, None, None, whole)
        try:
            response = await self.http.send(request, stream=True)
        except httpx.TransportError as error:
            if not may_repeat_after(error, is_repeatable=True):
                raise self._failed(error) from error
            raise
        try:
            if not response.is_success:
                await response.aread()
            yield checked(response)
        finally:
            await response.aclose()

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
        sent = httpx.Headers({"User-Agent": USER_AGENT, "Accept": "application/json"})
        sent.update(self.headers)
        if self.api_key is not None:
            sent["Authorization"] = f"Bearer {self.api_key}"
        if body is not None:
            sent["Content-Type"], content = "application/json", json.dumps(body).encode()
        sent.update(headers or {})
        asked = {name: _as_text(value) for name, value in (query or {}).items() if value is not None}
        filled = template.format_map({name: quote(id_of(value), safe="@") for name, value in (path or {}).items()})
        address = httpx.URL(self.base_url + filled)
        return self.http.build_request(
            method, address.copy_merge_params(asked), content=content, headers=sent, timeout=self.timeout_s
        )

    def _failed(self, error: httpx.TransportError) -> ConnectionFailed:
        if isinstance(error, httpx.LocalProtocolError):  # its text may have a header, such as the key
            return ConnectionFailed("The request cannot be sent: a header has characters that HTTP does not allow.")
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        if not isinstance(error, NEVER_ARRIVED):
            return ConnectionFailed(
                f"The connection to {self.base_url} broke off ({why}). The request may have been carried out."
            )
        return ConnectionFailed(
            f"The service at {self.base_url} cannot be reached ({why}). Is it running? `fanin serve` starts one on "
            "this machine; FANIN_URL names another."
        )


def checked(response: httpx.Response) -> httpx.Response:
    """Return a response. Raises the class of `ApiError` of its status if that is an error."""
    if response.is_success:
        return response
    if response.has_redirect_location:
        where = f"This address has moved to {response.headers['Location'][:200]!r}: set FANIN_URL."
        raise Moved(response.status_code, {"detail": where}, response.headers)
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": f"{response.status_code} {response.reason_phrase}: {response.text[:500]}".rstrip(": ")}
    known: type[ApiError] = errors.of_status(response.status_code)
    raise known(response.status_code, problem if isinstance(problem, dict) else {}, response.headers)


def answer_in(response: httpx.Response) -> dict[str, Any]:
    """Return the object of JSON in a response. Raises `BadAnswer` if there is none: something else has answered."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        kind = response.headers.get("Content-Type", "no type")
        raise BadAnswer(f"{response.url} answered {kind}, which is no answer of Fanin. Is there a proxy before it?")
    return answer


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple) and not value:
        raise ValueError("A filter is an empty list; leave it out to have all, or name something.")
    return [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
