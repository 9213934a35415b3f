"""SimSiam. Chen and He 2020, arXiv:2011.10566; facebookresearch/simsiam."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Group, Method, Step
from manyviews.core.ranges import Count
from manyviews.losses.regression import negative_cosine
from manyviews.parts.branch import Branch
from manyviews.parts.heads import apart, mlp


@dataclass(frozen=True, kw_only=True)
class SimSiamConfig:
    """Defaults: facebookresearch/simsiam main_simsiam.py, for a ResNet-50.

    Attributes:
        hidden: width of the projector's two hidden layers (the authors: the encoder's).
        out: width of the projector's and the predictor's outputs.
        bottleneck: width of the predictor's hidden layer, a quarter of `out` there.
        fixed_predictor: the predictor's learning rate neither rises nor falls.
    """

    hidden: Count = 2048
    out: Count = 2048
    bottleneck: Count = 512
    fixed_predictor: bool = True


class SimSiam(Method):
    """Predict the other view's projection, which gets no gradient; no negatives, no slow copy."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: SimSiamConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config = config
        # The authors' last layer has a bias that is frozen, and that the norm takes off again.
        sizes = [encoder.dim, config.hidden, config.hidden, config.out]
        projector = mlp(sizes, bias=False, bias_last=False, last_norm="plain")
        self.online = Branch(encoder, projector)
        self.predictor = mlp([config.out, config.bottleneck, config.out], bias=False)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Half the sum of both directions; each view has batch statistics of its own."""
        views = batch.views["global"][:, :2]
        embedding, z = self.online.apart(views)
        z_a, z_b = z.unbind(1)
        of_a, of_b = apart(self.predictor, z).unbind(1)
        loss = (negative_cosine(of_a, z_b) + negative_cosine(of_b, z_a)) / 2
        return Step({"cosine": loss}, embedding=self.embedded(embedding), projection=z)

    def param_groups(self) -> list[Group]:
        """The predictor keeps up with projections that change, so its rate does not fall."""
        fixed = self.config.fixed_predictor
        online = [p for p in self.online.parameters() if p.requires_grad]
        return [Group(online), Group(list(self.predictor.parameters()), fixed_lr=fixed)]
