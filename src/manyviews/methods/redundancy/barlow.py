"""Barlow Twins. Zbontar et al. 2021, arXiv:2103.03230."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, NotNegative
from manyviews.losses.redundancy import barlow_twins
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class BarlowTwinsConfig:
    """Defaults: 1000 epochs on ImageNet, facebookresearch/barlowtwins main.py.

    Attributes:
        off_diagonal: lambda, weight of the off-diagonal terms.
        hidden: width of the projector's two hidden layers.
        out: width of its output.
    """

    off_diagonal: NotNegative = 0.0051
    hidden: Count = 8192
    out: Count = 8192


class BarlowTwins(Method):
    """Make the cross-correlation of two views' embeddings the identity matrix."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: BarlowTwinsConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        widths = [encoder.dim, config.hidden, config.hidden, config.out]
        self.online = Branch(encoder, mlp(widths, bias=False, bias_last=False))
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The loss of equation 1; each view has batch statistics of its own."""
        embedding, z = self.online.apart(batch.views["global"][:, :2])
        z_a, z_b = z.unbind(1)
        return Step(
            {"barlow_twins": barlow_twins(z_a, z_b, off_diagonal=self.config.off_diagonal)},
            embedding=self.embedded(embedding),
            projection=z,
        )
