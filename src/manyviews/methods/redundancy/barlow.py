"""Barlow Twins. Zbontar et al. 2021, arXiv:2103.03230."""

from dataclasses import dataclass

from manyviews.core import Batch, Clock, Encoder, Method, Step
from manyviews.losses.entropy import entropy_term
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
        entropy_weight: of the projections' entropy (docs/methods/er.md); 0 leaves it out.
        entropy_concentration: of the kernels of its estimate.
    """

    off_diagonal: float = 0.0051
    hidden: int = 8192
    out: int = 8192
    entropy_weight: float = 0.0
    entropy_concentration: float = 10.0


class BarlowTwins(Method):
    """Make the cross-correlation of two views' embeddings the identity matrix."""

    def __init__(self, encoder: Encoder, config: BarlowTwinsConfig) -> None:
        super().__init__()
        widths = [encoder.dim, config.hidden, config.hidden, config.out]
        self.online = Branch(encoder, mlp(widths, bias=False, bias_last=False))
        self.config = config

    @property
    def encoder(self) -> Encoder:
        """The trained encoder."""
        return self.online.encoder

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The loss of equation 1; each view has batch statistics of its own."""
        embedding, z = self.online.apart(batch.views["global"][:, :2])
        z_a, z_b = z.unbind(1)
        config = self.config
        entropy = entropy_term(z, weight=config.entropy_weight, kappa=config.entropy_concentration)
        return Step(
            {"barlow_twins": barlow_twins(z_a, z_b, off_diagonal=config.off_diagonal)} | entropy,
            embedding=embedding.detach(),
            projection=z.detach(),
        )
