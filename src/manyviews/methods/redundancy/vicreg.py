"""VICReg. Bardes et al. 2022, arXiv:2105.04906."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, NotNegative
from manyviews.losses.redundancy import covariance, invariance, variance
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class VICRegConfig:
    """Defaults: the authors' for ImageNet, facebookresearch/vicreg main_vicreg.py.

    Attributes:
        invariance: weight of the mean squared difference of the views.
        variance: weight of the hinge on standard deviations, averaged over the two views.
        covariance: weight of the squared covariances, summed over the two views.
        hidden: width of the expander's two hidden layers.
        out: width of its output.
    """

    invariance: NotNegative = 25.0
    variance: NotNegative = 25.0
    covariance: NotNegative = 1.0
    hidden: Count = 8192
    out: Count = 8192


class VICReg(Method):
    """Bring two views together while every dimension stays spread out and uncorrelated."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: VICRegConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config = config
        widths = [encoder.dim, config.hidden, config.hidden, config.out]
        self.online = Branch(encoder, mlp(widths, bias_last=False))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The three terms of equation 6; each view has batch statistics of its own."""
        embedding, z = self.online.apart(batch.views["global"][:, :2])
        z_a, z_b = z.unbind(1)
        # The authors halve the variance term and not the covariance term (main_vicreg.py).
        spread = (variance(z_a) + variance(z_b)) / 2
        correlated = covariance(z_a) + covariance(z_b)
        return Step(
            {
                "invariance": self.config.invariance * invariance(z_a, z_b),
                "variance": self.config.variance * spread,
                "covariance": self.config.covariance * correlated,
            },
            embedding=self.embedded(embedding),
            projection=z,
        )
