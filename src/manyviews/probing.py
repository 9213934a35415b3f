"""Labelled data beside a run: evaluated during training if asked, never seen by it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from manyviews.assemble import embedder, readers
from manyviews.core import Clock, Method
from manyviews.evaluation.features import extract
from manyviews.evaluation.labelled import Labelled, open_labelled
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.result import Result
from manyviews.views.plain import Plain

Embed = Callable[[Tensor], Tensor]


class LabelledProbe:
    """A labelled data set in two parts, and the view that an encoder sees of it.

    Args:
        train: what classifiers learn from.
        test: what they are tested on.
        plain: the evaluation view.
        device: where the encoder is.
        protocols: what runs during training.

    Attributes:
        last: the results of the last call during training.
    """

    def __init__(
        self,
        train: Labelled,
        test: Labelled,
        plain: Plain,
        *,
        device: torch.device,
        protocols: tuple[str, ...] = ("knn",),
    ) -> None:
        self.train, self.test, self.plain = train, test, plain
        self.device, self.protocols = device, protocols
        self.last: list[Result] = []

    def measure(self, embed: Embed, names: Sequence[str], *, batch_size: int = 256) -> list[Result]:
        """Several protocols on features that are extracted once."""
        train_x, train_y = self._features(embed, self.train, batch_size)
        test_x, test_y = self._features(embed, self.test, batch_size)
        return [PROTOCOLS[name](train_x, train_y, test_x, test_y) for name in names]

    def __call__(self, method: Method, clock: Clock) -> Mapping[str, float]:
        """What the training loop asks for: protocol -> accuracy."""
        self.last = self.measure(embedder(method.encoder, self.device), self.protocols)
        return {result.protocol: result.value for result in self.last}

    def _features(self, embed: Embed, part: Labelled, batch_size: int) -> tuple[Tensor, Tensor]:
        found = extract(
            embed,
            part.source,
            self.plain,
            batch_size=batch_size,
            device=self.device,
            workers=readers(part.source),
        )
        return found.features, part.labels[found.index]


def open_probe(
    spec: str, plain: Plain, *, max_pixels: int, device: torch.device, linear: bool = False
) -> LabelledProbe:
    """Open both parts of LABELLED.

    Raises:
        UsageError: there is no such data, or its labels cannot be used.
    """

    def part(split: Literal["train", "test"]) -> Labelled:
        return open_labelled(spec, channels=plain.channels, max_pixels=max_pixels, split=split)

    protocols = ("knn", "linear") if linear else ("knn",)
    return LabelledProbe(part("train"), part("test"), plain, device=device, protocols=protocols)
