"""Alignment and uniformity. Wang and Isola 2020, arXiv:2005.10242."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Natural, NotNegative, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.sphere import alignment, uniformity
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class AlignUniformConfig:
    """Defaults: on STL-10, SsnL/align_uniform examples/stl10/main.py.

    Attributes:
        align: weight of alignment.
        uniform: weight of uniformity.
        alpha: power of the distance between views.
        t: of uniformity; the larger, the nearer a pair has to be to repel.
        hidden: width of the head's hidden layer; 0 makes it linear.
        out: width of its output.
    """

    align: NotNegative = 1.0
    uniform: NotNegative = 1.0
    alpha: Positive = 2.0
    t: Positive = 2.0
    hidden: Natural = 0
    out: Count = 128


class AlignUniform(Method):
    """Bring the views of an image together on the sphere, and spread images over it."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: AlignUniformConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        sizes = [given.encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
        self.projector = mlp(sizes)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Alignment of the views, and uniformity of each view's images, averaged."""
        config = self.config
        embedding, z = together(self.backbone, self.projector, batch.views["global"][:, :2])
        z = unit(z)
        spread = torch.stack([uniformity(view, t=config.t) for view in z.unbind(1)])
        return Step(
            {
                "alignment": config.align * alignment(z[:, 0], z[:, 1], alpha=config.alpha),
                "uniformity": config.uniform * spread.mean(),
            },
            embedding=self.embedded(embedding),
            projection=z,
        )
