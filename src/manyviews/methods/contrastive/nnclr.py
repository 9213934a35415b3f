"""NNCLR. Dwibedi et al. 2021, arXiv:2104.14548."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step, comm
from manyviews.core.ranges import Count, Positive
from manyviews.losses.contrastive import batch_info_nce, unit
from manyviews.parts.branch import Branch
from manyviews.parts.heads import apart, mlp
from manyviews.parts.queue import Support


@dataclass(frozen=True, kw_only=True)
class NNCLRConfig:
    """Defaults: the paper's for ImageNet.

    Attributes:
        temperature: of the softmax.
        queue: earlier projections among which neighbours are sought.
        hidden: width of the projector's two hidden layers.
        out: width of its output and the predictor's.
        predictor: width of the predictor's hidden layer.
    """

    temperature: Positive = 0.1
    queue: Count = 98304
    hidden: Count = 2048
    out: Count = 256
    predictor: Count = 4096


class NNCLR(Method):
    """The nearest neighbour of one view has to pick out the prediction from the other view.

    Neighbours are sought before the step's own projections enter, and never among what the same
    sample left in an earlier epoch.
    """

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: NNCLRConfig) -> None:
        super().__init__(given)
        encoder, hidden, out = given.encoder, config.hidden, config.out
        self.config = config
        projector = mlp([encoder.dim, hidden, hidden, out], bias=False, last_norm="full")
        self.online = Branch(encoder, projector)
        self.predictor = mlp([out, config.predictor, out], bias=False)
        self.support = Support(config.queue, out)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The mean of both directions; each view has batch statistics of its own."""
        embedding, z = self.online.apart(batch.views["global"][:, :2])
        predictions = unit(apart(self.predictor, z)).unbind(1)
        z = unit(z)
        loss = z.new_zeros(())
        for view, prediction in zip(z.detach().unbind(1), predictions[::-1], strict=True):
            neighbour = self.support.nearest(view, batch.index)
            loss = loss + batch_info_nce(
                neighbour, prediction, temperature=self.config.temperature
            ) / len(predictions)
        samples = len(comm.gather(batch.index))
        return Step(
            {"info_nce": loss},
            embedding=self.embedded(embedding),
            projection=z,
            fresh={"rows": z[:, 0].detach(), "index": batch.index},
            watch={"contrastive_floor": loss.detach() / math.log(samples)},
        )

    def after_backward(self, step: Step, clock: Clock) -> None:
        """The first view's projections enter the queue."""
        self.support.push(step.fresh["rows"], step.fresh["index"])
