"""SimCLR. Chen et al. 2020, arXiv:2002.05709; v2's deeper head: arXiv:2006.10029."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch

from manyviews.core import Batch, Clock, Given, Method, Step, comm, flat
from manyviews.core.ranges import Count, Natural, Positive
from manyviews.losses.contrastive import multi_crop_nt_xent, nt_xent, unit
from manyviews.parts.crops import encode_crops
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class SimCLRConfig:
    """Defaults: the authors' for ImageNet, google-research/simclr run.py and model_util.py.

    Attributes:
        temperature: of the softmax.
        hidden: width of the projector's hidden layers; 0 takes the encoder's.
        out: width of its output.
        layers: of the projector, 2 (v1) or 3 (v2).
        sum_of_views: add the means of the two views, as the authors' code does, rather than
            average over all 2N embeddings: twice the loss.
    """

    temperature: Positive = 0.1
    hidden: Natural = 0
    out: Count = 128
    layers: Literal[2, 3] = 2
    sum_of_views: bool = False


class SimCLR(Method):
    """Pull two views of a sample together, push all other views in the global batch away."""

    needs: Mapping[str, int] = {"global": 2, "local": 0}

    def __init__(self, given: Given, config: SimCLRConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config, self.backbone = config, encoder
        hidden = [config.hidden or encoder.dim] * (config.layers - 1)
        self.projector = mlp(
            [encoder.dim, *hidden, config.out], bias=False, bias_last=False, last_norm="scale"
        )

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """NT-Xent, the mean over pairs of views; with local views every crop meets all others.

        Batch norms see all views of one size at once.
        """
        config, count = self.config, batch.views["global"].shape[1]
        h = encode_crops(self.backbone, batch.views)
        z = unit(flat(self.projector, h))
        if z.shape[1] > count:
            loss = multi_crop_nt_xent(z, temperature=config.temperature)
            candidates = 1 + z.shape[1] * (len(comm.gather(batch.index)) - 1)
        else:
            pairs = combinations(range(count), 2)
            losses = [nt_xent(z[:, pair], temperature=config.temperature) for pair in pairs]
            loss = torch.stack(losses).mean()
            candidates = len(comm.gather(batch.index)) * 2 - 1
        return Step(
            {"nt_xent": loss * (2 if config.sum_of_views else 1)},
            embedding=self.embedded(h[:, :count]),
            projection=z[:, :count],
            watch={"contrastive_floor": loss.detach() / math.log(candidates)},
        )
