"""LeJEPA. Balestriero and LeCun 2025, arXiv:2511.08544."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count, Share
from manyviews.losses.gaussian import epps_pulley, lines, to_centre
from manyviews.parts.branch import Branch
from manyviews.parts.crops import encode_crops
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class LeJEPAConfig:
    """Defaults: rbalestr-lab/lejepa README.md and MINIMAL.md; the weight is the paper's.

    Attributes:
        gaussian: lambda, weight of the distance from a Gaussian; views have the rest. It belongs
            to a batch size, as that distance grows with the samples.
        lines: random ones along which that is measured, drawn anew at every step.
        hidden: width of the projector's two hidden layers.
        out: width of its output.
    """

    gaussian: Share = 0.05
    lines: Count = 1024
    hidden: Count = 2048
    out: Count = 64


class LeJEPA(Method):
    """Bring views to their common centre, and the embeddings of a batch to a Gaussian."""

    needs: Mapping[str, int] = {"global": 2, "local": 0}

    def __init__(self, given: Given, config: LeJEPAConfig) -> None:
        super().__init__(given)
        self.config = config
        widths = [given.encoder.dim, config.hidden, config.hidden, config.out]
        self.online = Branch(given.encoder, mlp(widths))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Both terms, over all views; the global ones make the centre."""
        config, views = self.config, batch.views["global"].shape[1]
        h = encode_crops(self.online.encoder, batch.views)
        z = flat(self.online.head, h)
        along = lines(config.out, config.lines, seed=clock.step, like=z)
        return Step(
            {
                "invariance": (1 - config.gaussian) * to_centre(z, views=views),
                "gaussian": config.gaussian * epps_pulley(z, along),
            },
            embedding=self.embedded(h[:, :2]),
            projection=z[:, :views],
        )
