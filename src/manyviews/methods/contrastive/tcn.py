"""TCN. Sermanet et al. 2018, arXiv:1704.06888."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Natural, NotNegative, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.margin import time_contrastive
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class TCNConfig:
    """Defaults: tensorflow/models research/tcn/configs/tcn_default.yml, at 30 frames a second.

    Attributes:
        margin: of squared distances between unit vectors.
        near: seconds up to which two views of a sample are of one time.
        far: seconds from which on they are of different times; what lies between is neither.
        others: views of other samples are negatives too.
        hidden: width of the head's hidden layer; 0 makes it linear.
        out: width of its output.
    """

    margin: Positive = 0.2
    near: NotNegative = 0.2
    far: NotNegative = 0.4
    others: bool = True
    hidden: Natural = 2048
    out: Count = 32

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Two views that are of one time and of different times at once."""
        if self.far < self.near:
            yield "far", self.far, f"{self.near:g} or more, which is near"


class TCN(Method):
    """What is seen at one time of a video is nearer to itself than to other times of the video."""

    needs: Mapping[str, int] = {"global": 2, "global.time": 2}
    of_one = ("global",)

    def __init__(self, given: Given, config: TCNConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        sizes = [given.encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
        self.projector = mlp(sizes, norm=False)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """A triplet for each two views of one time; its negative is sought in the global batch."""
        config = self.config
        embedding, z = together(self.backbone, self.projector, batch.views["global"])
        z = unit(z)
        loss = time_contrastive(
            z,
            batch.cues["global.time"],
            margin=config.margin,
            near=config.near,
            far=config.far,
            others=config.others,
        )
        return Step({"triplet": loss}, self.embedded(embedding[:, :2]), projection=z)
