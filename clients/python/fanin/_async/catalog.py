"""What a service knows besides jobs and models: schemes, theory, data sets, workers, and its own health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fanin._async.pages import AsyncItems, Place
from fanin._async.transport import AsyncTransport, answer_in
from fanin.answers import (
    DatasetView,
    Digit,
    Health,
    InitScheme,
    PhaseDiagram,
    Preview,
    Readiness,
    WorkerView,
)
from fanin.bodies import Json, given


class AsyncSchemes:
    """The initialization schemes: `client.schemes`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self) -> AsyncItems[InitScheme]:
        """Return all schemes with formula, parameters and source."""
        return AsyncItems(self._transport, Place("/init-schemes", InitScheme, has_pages=False))

    async def get(self, name: str) -> InitScheme:
        """Return a scheme."""
        return InitScheme(await self._transport.answer("GET", "/init-schemes/{name}", {"name": name}))

    async def preview(
        self,
        name: str,
        *,
        init: Json | None = None,
        architecture: Json | None = None,
        output_init: Literal["same", "small", "zeros"] | None = None,
        seed: int | None = None,
        data: Literal["auto", "mnist", "mnist_5k"] | None = None,
    ) -> Preview:
        """Return what a scheme makes of a network before training: every layer measured and predicted, a verdict."""
        body = given(init=init, architecture=architecture, output_init=output_init, seed=seed, data=data)
        path = {"name": name}
        return Preview(await self._transport.answer("POST", "/init-schemes/{name}/preview", path, body=body))

    async def phase_diagram(
        self,
        *,
        activation: str | None = None,
        sigma_w: Sequence[float] | None = None,
        sigma_b: Sequence[float] | None = None,
        width: int | None = None,
    ) -> PhaseDiagram:
        """Return where order ends and chaos begins in wide networks, over weight and bias scales.

        `width` is that of the networks in which the schemes are placed.
        """
        body = given(activation=activation, sigma_w=sigma_w, sigma_b=sigma_b, width=width)
        return PhaseDiagram(await self._transport.answer("POST", "/theory/phase", body=body))


class AsyncDatasets:
    """The data sets: `client.datasets`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self) -> AsyncItems[DatasetView]:
        """Return the data sets, and whether they are available."""
        return AsyncItems(self._transport, Place("/datasets", DatasetView, has_pages=False))

    async def digit(self, name: str = "mnist", index: int | Literal["random"] = "random") -> Digit:
        """Return a test digit with its label and its pixels."""
        path = {"name": name, "index": index}
        return Digit(await self._transport.answer("GET", "/datasets/{name}/test/{index}", path))

    async def digit_png(self, name: str = "mnist", index: int | Literal["random"] = "random") -> bytes:
        """Return a test digit as a PNG."""
        path, headers = {"name": name, "index": index}, {"Accept": "image/png"}
        response = await self._transport.request("GET", "/datasets/{name}/test/{index}", path, headers=headers)
        return response.content


class AsyncService:
    """The service itself: its health and its workers: `client.service`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def health(self) -> Health:
        """Return whether the process answers."""
        return Health(await self._transport.answer("GET", "/healthz"))

    async def readiness(self) -> Readiness:
        """Return whether database, files and workers are ready. Raises `Unavailable` if not."""
        return Readiness(await self._transport.answer("GET", "/readyz"))

    async def metrics(self) -> str:
        """Return the metrics of the service in the text format of Prometheus."""
        headers = {"Accept": "text/plain"}
        return (await self._transport.request("GET", "/metrics", headers=headers)).text

    def workers(self) -> AsyncItems[WorkerView]:
        """Return the workers, and what they do."""
        return AsyncItems(self._transport, Place("/workers", WorkerView, has_pages=False))


class AsyncInferenceProtocol:
    """The Open Inference Protocol v2 with tensors in JSON, for programs that speak it: `client.oip`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def server(self) -> dict[str, Any]:
        """Return the name, the version and the extensions of the server."""
        return await self._get("/v2")

    async def live(self) -> dict[str, Any]:
        """Return whether the server lives."""
        return await self._get("/v2/health/live")

    async def ready(self) -> dict[str, Any]:
        """Return whether the server is ready."""
        return await self._get("/v2/health/ready")

    async def index(self) -> Sequence[dict[str, Any]]:
        """Return the models of the repository."""
        models: Sequence[dict[str, Any]] = (await self._transport.request("POST", "/v2/repository/index")).json()
        return models

    async def metadata(self, model: str, version: int | None = None) -> dict[str, Any]:
        """Return the inputs and outputs of a model."""
        if version is None:
            return await self._get("/v2/models/{model_name}", model)
        return await self._get("/v2/models/{model_name}/versions/{version}", model, version)

    async def model_ready(self, model: str, version: int | None = None) -> dict[str, Any]:
        """Return whether a model is ready."""
        if version is None:
            return await self._get("/v2/models/{model_name}/ready", model)
        return await self._get("/v2/models/{model_name}/versions/{version}/ready", model, version)

    async def config(self, model: str) -> dict[str, Any]:
        """Return the configuration of a model."""
        return await self._get("/v2/models/{model_name}/config", model)

    async def stats(self, model: str | None = None, version: int | None = None) -> dict[str, Any]:
        """Return how many inferences there were: of all models, of one, or of one version."""
        if model is None:
            return await self._get("/v2/models/stats")
        if version is None:
            return await self._get("/v2/models/{model_name}/stats", model)
        return await self._get("/v2/models/{model_name}/versions/{version}/stats", model, version)

    async def infer(self, model: str, request: Mapping[str, Any], version: int | None = None) -> dict[str, Any]:
        """Send an inference request of the protocol, and return its response."""
        path, body = {"model_name": model, "version": version or 0}, dict(request)
        if version is None:
            response = await self._transport.request("POST", "/v2/models/{model_name}/infer", path, body=body)
        else:
            response = await self._transport.request(
                "POST", "/v2/models/{model_name}/versions/{version}/infer", path, body=body
            )
        answer: dict[str, Any] = answer_in(response)
        return answer

    async def _get(self, template: str, model: str = "", version: int | None = None) -> dict[str, Any]:
        path = {"model_name": model or "-", "version": version or 0}
        answer: dict[str, Any] = await self._transport.answer("GET", template, path)
        return answer
