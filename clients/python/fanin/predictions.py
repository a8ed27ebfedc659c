"""What a model says of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fanin import answers
from fanin.answers import BatchAnswer, OneAnswer
from fanin.html import prediction_html
from fanin.images import picture_of, png_of


class Prediction(OneAnswer):
    """What a model says of one image: `label`, `probabilities`, `model`, `warnings`.

    In a notebook it is shown as the picture beside ten bars.
    """

    _picture: bytes | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any], image: Any = None) -> Prediction:
        """Return the prediction in an answer. Raises `ValueError` if it is of a batch."""
        if len(answer.get("predictions", [None])) != 1:
            raise ValueError(f"There are {len(answer['predictions'])} images; predict_batch is for more than one.")
        if "predictions" in answer:
            answer = {
                **{name: value for name, value in answer.items() if name != "predictions"},
                **answer["predictions"][0],
            }
        made = cls(answer)
        seen = answer.get("seen")
        try:
            made._picture = png_of(seen) if seen else picture_of(image)
        except (OSError, TypeError, ValueError):  # a file that is gone: there is only no picture
            made._picture = None
        return made

    def __str__(self) -> str:
        warned = "".join(f"; {one.detail}" for one in self.warnings or [])
        return f"{self.label} ({self.probability:.1%}), says {self.model.scheme} {self.model.id}{warned}"

    @property
    def probability(self) -> float:
        """Return the probability of the label."""
        probabilities = self.probabilities
        assert probabilities is not None
        return probabilities[self.label]

    def _repr_html_(self) -> str:
        return prediction_html(self, self._picture)


class Predictions(BatchAnswer):
    """What a model says of several images, in their order: `labels`, `probabilities`, and each as an item."""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Predictions:
        """Return the predictions in an answer, also in that of a single image."""
        if "predictions" in answer:
            return cls(answer)
        shared = {name: answer[name] for name in ("read_as", "warnings", "model") if name in answer}
        own = {name: value for name, value in answer.items() if name not in shared}
        return cls({**shared, "predictions": [own]})

    @property
    def labels(self) -> list[int]:
        """Return the most probable digit of each image."""
        return [one.label for one in self.predictions]

    @property
    def probabilities(self) -> list[list[float]]:
        """Return the ten probabilities of each image."""
        return [one.probabilities or [] for one in self.predictions]

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[answers.Prediction]:
        return iter(self.predictions)

    def __getitem__(self, index: int) -> answers.Prediction:
        return self.predictions[index]
