"""Exemplar-CNN. Dosovitskiy et al. 2014, arXiv:1406.6909."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Natural
from manyviews.losses.classification import classify
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class ExemplarConfig:
    """Defaults: the paper's, section 2.2 and 3.1.

    Attributes:
        hidden: width of the layer before the classes, which also is that of a class's row; 0
            leaves it out, and rows are as wide as the encoder's output.
    """

    hidden: Natural = 512


class Exemplars(nn.Linear):
    """A class for each sample of the data set.

    Attributes:
        of_samples: what it holds means nothing on other data.
    """

    of_samples = True


class Exemplar(Method):
    """Every sample is a class of its own, and all its views belong to it."""

    needs: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: ExemplarConfig) -> None:
        super().__init__(given)
        self.backbone = given.encoder
        width = config.hidden or given.encoder.dim
        self.neck = (
            nn.Sequential(mlp([given.encoder.dim, width]), nn.ReLU())
            if config.hidden
            else nn.Identity()
        )
        self.classes = Exemplars(width, given.samples)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over all samples of the data set."""
        views = batch.views["global"]
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, views)
        logits = self.classes(self.neck(h))
        loss = classify(logits, batch.index[:, None].expand(logits.shape[:2]))
        return Step({"sample": loss}, embedding=self.embedded(h[:, :2]))
