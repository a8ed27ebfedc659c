"""The client of a Fanin service."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from types import TracebackType
from typing import Any

import httpx

from fanin._sync.catalog import Datasets, InferenceProtocol, Schemes, Service
from fanin._sync.experiments import Experiments
from fanin._sync.jobs import Jobs
from fanin._sync.models import Aliases, Models, Predict, Scale
from fanin._sync.transport import Transport
from fanin.address import address_of, is_this_machine, key_of
from fanin.answers import ManyAnswers
from fanin.bodies import given
from fanin.predictions import Prediction, Predictions

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 60.0
MAX_RETRIES = 2


class Client:
    """A client of a Fanin service: `with Client() as fanin: ...`.

    `base_url` is the address of the service (FANIN_URL, else this machine's port 8000), `api_key` its key
    (FANIN_API_KEY). `timeout_s` limits each step of a request; `max_retries` is how often a request is sent again after
    a broken connection or a busy service. Proxies of the environment are used, but not to this machine; `http_client`
    replaces the connections, with proxies or certificates of your own.

    `jobs`, `experiments`, `models`, `aliases`, `schemes`, `datasets`, `service` and `oip` are the parts of the API.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        if max_retries < 0 or timeout_s <= 0:
            raise ValueError("max_retries is at least 0, and timeout_s more than 0.")
        address = address_of(base_url or os.environ.get("FANIN_URL") or DEFAULT_URL)
        transport = Transport(
            http=http_client or httpx.Client(trust_env=not is_this_machine(address)),
            base_url=address,
            api_key=key_of(api_key if api_key is not None else os.environ.get("FANIN_API_KEY")),
            timeout_s=timeout_s,
            max_retries=max_retries,
            headers=dict(headers or {}),
        )
        self._owns_connections = True
        self._use(transport)

    def _use(self, transport: Transport) -> None:
        self._transport = transport
        self._predict = Predict(transport)
        self.jobs = Jobs(transport)
        self.experiments = Experiments(transport)
        self.models = Models(transport)
        self.aliases = Aliases(transport)
        self.schemes = Schemes(transport)
        self.datasets = Datasets(transport)
        self.service = Service(transport)
        self.oip = InferenceProtocol(transport)

    @property
    def base_url(self) -> str:
        """Return the address of the service."""
        return self._transport.base_url

    def with_options(
        self,
        *,
        timeout_s: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Client:
        """Return a client with other options over the same connections, which only this client closes."""
        changes = given(timeout_s=timeout_s, max_retries=max_retries, headers=headers)
        other = copy(self)
        other._owns_connections = False  # noqa: SLF001 - it is of this class
        other._use(replace(self._transport, **changes))  # noqa: SLF001
        return other

    def predict(self, image: Any, model: str = "best", *, fit: bool = False, scale: Scale = "auto") -> Prediction:
        """Return what a model says of one image: a digit and ten probabilities.

        An image is a path, the bytes of a picture, an array, a tensor, a picture of Pillow, or 28 lists of 28 numbers,
        28x28, light ink on black, as in MNIST. With `fit` it may be any photograph or drawing: the service finds the
        digit, and scales, centres and inverts it. Numbers are 0 to 255, or shares of ink 0 to 1; `scale` says which
        if all are 0 or 1. Raises `InvalidRequest` for what is no such image.
        """
        return self._predict.one(image, model, fit=fit, scale=scale)

    def predict_batch(
        self, images: Any, model: str = "best", *, fit: bool = False, scale: Scale = "auto"
    ) -> Predictions:
        """Return what a model says of up to 10,000 images: an array [n, 28, 28], or a list of 28x28 ones."""
        return self._predict.batch(images, model, fit=fit, scale=scale)

    def ask(self, image: Any, models: Sequence[str], *, fit: bool = False, scale: Scale = "auto") -> ManyAnswers:
        """Return what up to 16 models say of the same image."""
        return self._predict.many(image, models, fit=fit, scale=scale)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send any request, such as `("GET", "/jobs")`, and return the raw response. Raises as all methods do.

        It is sent again after a broken connection only if it is a GET or has an Idempotency-Key.
        """
        named = {name.lower() for name in headers or {}}
        is_repeatable = method.upper() in ("GET", "HEAD") or "idempotency-key" in named
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is no path of the API: it begins with /, such as /jobs.")
        plain = path.replace("{", "{{").replace("}", "}}")
        return self._transport.request(
            method, plain, query=query, body=body, content=content, headers=headers, is_repeatable=is_repeatable
        )

    def close(self) -> None:
        """Close the connections; a client of `with_options` leaves them open."""
        if self._owns_connections:
            self._transport.http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"
