"""EMP-SSL. Tong et al. 2023, arXiv:2304.03977."""

from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, NotNegative, Positive
from manyviews.losses.coding import coding_rate, likeness_to_mean
from manyviews.losses.contrastive import unit
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class EMPConfig:
    """Defaults: tsb0601/EMP-SSL main.py, model/model.py.

    Attributes:
        likeness: weight of the cosine between crops and their mean.
        rate: weight of the coding rate.
        precision: squared, up to which embeddings are coded.
        hidden: width of the projector's two hidden layers.
        out: width of its output.
    """

    likeness: NotNegative = 200.0
    rate: NotNegative = 1.0
    precision: Positive = 0.2
    hidden: Count = 4096
    out: Count = 1024


class EMP(Method):
    """Bring many crops to their mean, and let the images of each crop take many bits."""

    def __init__(self, given: Given, config: EMPConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.projector = mlp([given.encoder.dim, config.hidden, config.hidden, config.out])

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Both terms; norms see all crops at once."""
        h, z = together(self.backbone, self.projector, batch.views["global"])
        z, config = unit(z), self.config
        return Step(
            {
                "likeness": -config.likeness * likeness_to_mean(z),
                "coding_rate": -config.rate * coding_rate(z, precision=config.precision),
            },
            embedding=self.embedded(h[:, :2]),
            projection=z,
        )
