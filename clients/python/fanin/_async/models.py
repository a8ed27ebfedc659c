"""Models: their accuracy, their predictions, what their layers do, and their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Literal

from fanin import answers
from fanin._async.downloads import download
from fanin._async.pages import AsyncItems, Place
from fanin._async.transport import AsyncTransport, answer_in
from fanin.answers import (
    Alias,
    Distributions,
    Evaluation,
    Likelihood,
    ManyAnswers,
    Mistake,
    Path,
    Samples,
    Score,
)
from fanin.bodies import condition, given, id_of
from fanin.html import model_html
from fanin.images import ImageBody, body_of
from fanin.predictions import Prediction, Predictions
from fanin.safetensors import WeightsFormat, format_of

Scale = Literal["auto", "255", "1"]


class AsyncModel(answers.Model):
    """A model: the weights of a job after an epoch."""

    def __init__(self, data: Mapping[str, Any], transport: AsyncTransport) -> None:
        super().__init__(data)
        self._transport = transport

    @property
    def checkpoint(self) -> str:
        """Return the name that means exactly these weights, JOB@EPOCH."""
        return f"{self.job_id}@{self.epoch}"

    async def predict(self, image: Any, *, fit: bool = False, scale: Scale = "auto") -> Prediction:
        """Return what the model says of one image; see `client.predict`."""
        return await AsyncModels(self._transport).predict(self.checkpoint, image, fit=fit, scale=scale)

    async def predict_batch(self, images: Any, *, fit: bool = False, scale: Scale = "auto") -> Predictions:
        """Return what the model says of several images; see `client.predict_batch`."""
        return await AsyncModels(self._transport).predict_batch(self.checkpoint, images, fit=fit, scale=scale)

    async def evaluation(self) -> Evaluation:
        """Return the accuracy on the test images with its interval, calibration, and the confusion matrix."""
        return await AsyncModels(self._transport).evaluation(self.id)

    def mistakes(self, *, label: int | None = None, answer: int | None = None) -> AsyncItems[Mistake]:
        """Return the test digits that it gets wrong: those of a label, or those that it takes for `answer`."""
        return AsyncModels(self._transport).mistakes(self.id, label=label, answer=answer)

    async def distributions(self) -> Distributions:
        """Return histograms of weights, gradients, activations and cosines between units, by layer."""
        return await AsyncModels(self._transport).distributions(self.checkpoint)

    async def path(self, image: Any, *, fit: bool = False, scale: Scale = "auto") -> Path:
        """Return what each layer makes of an image, and the strongest links to the answer."""
        return await AsyncModels(self._transport).path(self.checkpoint, image, fit=fit, scale=scale)

    async def weights(self, format: WeightsFormat = "safetensors") -> bytes:
        """Return the file of the weights."""
        return await AsyncModels(self._transport).weights(self.checkpoint, format)

    async def download(self, target: str | FilePath, format: WeightsFormat | None = None) -> FilePath:
        """Write the file of the weights, checked against its digest; see `models.download`."""
        return await AsyncModels(self._transport).download(self.checkpoint, target, format)

    async def name(self, alias: str) -> Alias:
        """Let an alias mean exactly these weights."""
        return await AsyncAliases(self._transport).set(alias, self.checkpoint)

    def _repr_html_(self) -> str:
        return model_html(self)


class AsyncModels:
    """The models of a service: `client.models`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None) -> AsyncItems[AsyncModel]:
        """Return the models, newest first: of every job that has a checkpoint, also while it is trained."""
        return AsyncItems(self._transport, Place("/models", self._model), limit)

    async def get(self, model_id: str = "best") -> AsyncModel:
        """Return a model: `best`, `latest`, an alias, a job's id, or JOB@EPOCH."""
        return self._model(await self._transport.answer("GET", "/models/{model_id}", {"model_id": model_id}))

    async def predict(self, model_id: str, image: Any, *, fit: bool = False, scale: Scale = "auto") -> Prediction:
        """Return what a model says of one image; see `client.predict`."""
        body, query = body_of(image), given(fit=fit or None, scale=None if scale == "auto" else scale)
        path = {"model_id": model_id}
        response = await self._transport.request("POST", "/models/{model_id}/predict", path, query=query, **sent(body))
        return Prediction.of(answer_in(response), image)

    async def predict_batch(
        self, model_id: str, images: Any, *, fit: bool = False, scale: Scale = "auto"
    ) -> Predictions:
        """Return what a model says of several images; see `client.predict_batch`."""
        body, query = body_of(images), given(fit=fit or None, scale=None if scale == "auto" else scale)
        path = {"model_id": model_id}
        response = await self._transport.request("POST", "/models/{model_id}/predict", path, query=query, **sent(body))
        return Predictions.of(answer_in(response))

    async def classify(self, model_id: str, image: Any) -> Sequence[Score]:
        """Return the digits with their scores, best first, in the form of Hugging Face's inference route."""
        path, body = {"model_id": model_id}, body_of(image)
        response = await self._transport.request("POST", "/models/{model_id}/classify", path, **sent(body))
        return [Score(one) for one in response.json()]

    async def evaluation(self, model_id: str) -> Evaluation:
        """Return the accuracy on the test images with its interval, calibration, and the confusion matrix."""
        path = {"model_id": model_id}
        return Evaluation(await self._transport.answer("GET", "/models/{model_id}/evaluation", path))

    def mistakes(
        self, model_id: str, *, label: int | None = None, answer: int | None = None, limit: int | None = None
    ) -> AsyncItems[Mistake]:
        """Return the test digits that a model gets wrong."""
        query = {"label": label, "answer": answer}
        place = Place("/models/{model_id}/mistakes", Mistake, {"model_id": model_id}, query)
        return AsyncItems(self._transport, place, limit)

    async def distributions(self, model_id: str) -> Distributions:
        """Return histograms of weights, gradients, activations and cosines between units, by layer."""
        path = {"model_id": model_id}
        return Distributions(await self._transport.answer("GET", "/models/{model_id}/distributions", path))

    async def path(self, model_id: str, image: Any, *, fit: bool = False, scale: Scale = "auto") -> Path:
        """Return what each layer makes of an image, and the strongest links to the answer."""
        query, body = given(fit=fit or None, scale=None if scale == "auto" else scale), body_of(image)
        path = {"model_id": model_id}
        response = await self._transport.request("POST", "/models/{model_id}/path", path, query=query, **sent(body))
        return Path(answer_in(response))

    async def samples(
        self,
        model_id: str,
        *,
        count: int | None = None,
        steps: int | None = None,
        every: int | None = None,
        start: Literal["noise", "digits"] | None = None,
        seed: int | None = None,
    ) -> Samples:
        """Return samples of a deep belief network, as pictures: Gibbs chains of its top machine."""
        path, query = {"model_id": model_id}, given(count=count, steps=steps, every=every, start=start, seed=seed)
        return Samples(await self._transport.answer("GET", "/models/{model_id}/samples", path, query=query))

    async def likelihood(
        self,
        model_id: str,
        *,
        machines: int | None = None,
        chains: int | None = None,
        temperatures: int | None = None,
        seed: int | None = None,
    ) -> Likelihood:
        """Return how probable real digits are to a deep belief network."""
        path = {"model_id": model_id}
        query = given(machines=machines, chains=chains, temperatures=temperatures, seed=seed)
        response = await self._transport.request("GET", "/models/{model_id}/likelihood", path, query=query)
        return Likelihood(answer_in(response))

    async def weights(self, model_id: str, format: WeightsFormat = "safetensors") -> bytes:
        """Return the file of a model's weights; `download` writes it to the disk and checks it."""
        path, headers = {"model_id": model_id}, {"Accept": "*/*"}
        response = await self._transport.request(
            "GET", "/models/{model_id}/weights", path, query={"format": format}, headers=headers
        )
        return response.content

    async def download(self, model_id: str, target: str | FilePath, format: WeightsFormat | None = None) -> FilePath:
        """Write the file of a model's weights, and return its path.

        The format is that of the file's name. The file appears whole and checked against the digest
        that the service announces, or not at all; a broken connection continues where it was.
        """
        file = FilePath(target)
        return await download(self._transport, model_id, format or format_of(file), file)

    def _model(self, data: dict[str, Any]) -> AsyncModel:
        return AsyncModel(data, self._transport)


class AsyncAliases:
    """Names that mean exactly one checkpoint until they are moved: `client.aliases`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, *, limit: int | None = None) -> AsyncItems[Alias]:
        """Return the aliases, by name."""
        return AsyncItems(self._transport, Place("/aliases", Alias), limit)

    async def get(self, name: str) -> Alias:
        """Return an alias."""
        return Alias(await self._transport.answer("GET", "/aliases/{name}", {"name": name}))

    async def set(self, name: str, model: str, *, if_version: int | None = None, only_new: bool = False) -> Alias:
        """Let a name mean the checkpoint that `model` is now.

        With `if_version` only if the alias still has that version, with `only_new` only if there is none: else raises
        `PreconditionFailed`.
        """
        headers = condition(if_version) | ({"If-None-Match": "*"} if only_new else {})
        response = await self._transport.request(
            "PUT",
            "/aliases/{name}",
            {"name": name},
            body={"model": id_of(model)},
            headers=headers,
            is_repeatable=not headers,
        )
        return Alias(answer_in(response))

    async def delete(self, name: str, *, if_version: int | None = None) -> None:
        """Delete an alias; its model stays."""
        headers = condition(if_version)
        await self._transport.request("DELETE", "/aliases/{name}", {"name": name}, headers=headers, is_repeatable=False)


class AsyncPredict:
    """Predictions with a model that the request names: `client.predict`, `client.predict_batch`, `client.ask`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def one(self, image: Any, model: str, *, fit: bool, scale: Scale) -> Prediction:
        """Return what a model says of one image."""
        return Prediction.of(await self._answer(image, model=id_of(model), fit=fit, scale=scale), image)

    async def batch(self, images: Any, model: str, *, fit: bool, scale: Scale) -> Predictions:
        """Return what a model says of several images."""
        return Predictions.of(await self._answer(images, model=id_of(model), fit=fit, scale=scale))

    async def many(self, image: Any, models: Sequence[str], *, fit: bool, scale: Scale) -> ManyAnswers:
        """Return what several models say."""
        if isinstance(models, str):
            raise TypeError("models is a list of names; predict is for one.")
        return ManyAnswers(
            await self._answer(image, models=",".join(id_of(model) for model in models), fit=fit, scale=scale)
        )

    async def _answer(self, image: Any, *, fit: bool, scale: Scale, **which: str) -> dict[str, Any]:
        query = given(fit=fit or None, scale=None if scale == "auto" else scale, **which)
        answer = await self._transport.answer("POST", "/predict", query=query, **sent(body_of(image)))
        assert isinstance(answer, dict)
        return answer


def sent(body: ImageBody) -> dict[str, Any]:
    """Return an image as arguments of `request`."""
    headers = {} if body.media_type is None else {"Content-Type": body.media_type}
    return {"content": body.content, "headers": headers}
