"""VISReg. Wu et al. 2026, arXiv:2606.02572."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count, NotNegative, Share
from manyviews.losses.gaussian import centre_scale_shape, lines, to_centre
from manyviews.parts.branch import Branch
from manyviews.parts.crops import encode_crops
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class VISRegConfig:
    """Defaults: the paper's for ImageNet, as lightly-ai/lightly has them.

    Attributes:
        gaussian: lambda, weight of the three terms below; views have the rest.
        centre: weight, among those, of means that are not 0.
        scale: of deviations that are not 1.
        shape: of distances from a Gaussian along lines.
        lines: random ones, drawn anew at every step.
        hidden: width of the projector's two hidden layers.
        out: width of its output.
    """

    gaussian: Share = 0.9
    centre: NotNegative = 1.0
    scale: NotNegative = 1.0
    shape: NotNegative = 1.0
    lines: Count = 4096
    hidden: Count = 2048
    out: Count = 256


class VISReg(Method):
    """Bring views to their common centre, and a batch to centre 0, scale 1, Gaussian shape."""

    needs: Mapping[str, int] = {"global": 2, "local": 0}

    def __init__(self, given: Given, config: VISRegConfig) -> None:
        super().__init__(given)
        self.config = config
        widths = [given.encoder.dim, config.hidden, config.hidden, config.out]
        self.online = Branch(given.encoder, mlp(widths, act=nn.GELU))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """All terms, over all views; the global ones make the centre."""
        config, views = self.config, batch.views["global"].shape[1]
        h = encode_crops(self.online.encoder, batch.views)
        z = flat(self.online.head, h)
        along = lines(config.out, config.lines, seed=clock.step, like=z)
        centre, scale, shape = centre_scale_shape(z, along)
        return Step(
            {
                "invariance": (1 - config.gaussian) * to_centre(z, views=views),
                "centre": config.gaussian * config.centre * centre,
                "scale": config.gaussian * config.scale * scale,
                "shape": config.gaussian * config.shape * shape,
            },
            embedding=self.embedded(h[:, :2]),
            projection=z[:, :views],
        )
