"""VICReg. Bardes et al. 2022, arXiv:2105.04906."""

from dataclasses import dataclass

from manyviews.core import Batch, Clock, Encoder, Method, Step
from manyviews.losses.entropy import entropy_term
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
        entropy_weight: of the expanded features' entropy (docs/methods/er.md); 0 leaves it out.
        entropy_concentration: of the kernels of its estimate.
    """

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    hidden: int = 8192
    out: int = 8192
    entropy_weight: float = 0.0
    entropy_concentration: float = 10.0


class VICReg(Method):
    """Bring two views together while every dimension stays spread out and uncorrelated."""

    def __init__(self, encoder: Encoder, config: VICRegConfig) -> None:
        super().__init__()
        self.config = config
        widths = [encoder.dim, config.hidden, config.hidden, config.out]
        self.online = Branch(encoder, mlp(widths, bias_last=False))

    @property
    def encoder(self) -> Encoder:
        """The trained encoder."""
        return self.online.encoder

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The three terms of equation 6; each view has batch statistics of its own."""
        embedding, z = self.online.apart(batch.views["global"][:, :2])
        z_a, z_b = z.unbind(1)
        config = self.config
        entropy = entropy_term(z, weight=config.entropy_weight, kappa=config.entropy_concentration)
        # The authors halve the variance term and not the covariance term (main_vicreg.py).
        spread = (variance(z_a) + variance(z_b)) / 2
        correlated = covariance(z_a) + covariance(z_b)
        return Step(
            {
                "invariance": self.config.invariance * invariance(z_a, z_b),
                "variance": self.config.variance * spread,
                "covariance": self.config.covariance * correlated,
            }
            | entropy,
            embedding=embedding.detach(),
            projection=z.detach(),
        )
