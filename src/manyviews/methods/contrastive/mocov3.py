"""MoCo v3. Chen, Xie and He 2021, arXiv:2104.02057."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch

from manyviews.core import Batch, Clock, Given, Method, Step, UsageError, comm
from manyviews.core.ranges import SHARE, Count, Positive
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import batch_info_nce, unit
from manyviews.parts.branch import Branch
from manyviews.parts.heads import apart, mlp
from manyviews.parts.targets import EMA

_mlp = partial(mlp, bias=False, bias_last=False)


@dataclass(frozen=True, kw_only=True)
class MoCoV3Config:
    """Defaults: ResNet-50 on ImageNet, facebookresearch/moco-v3 main_moco.py and moco/builder.py.

    The authors' vision transformers have temperature 0.2, 3 layers, the predictor's norm and
    frozen patches.

    Attributes:
        temperature: of the softmax.
        momentum: of the slow encoder; 0.996 at the start for 1000 epochs of a ResNet-50.
        hidden: width of the hidden layers of projector and predictor.
        out: width of their outputs.
        layers: of the projector.
        predictor_norm: a batch norm ends the predictor too.
        frozen_patches: the layer that makes patches into tokens keeps its random weights, which
            keeps training steady.
    """

    temperature: Positive = 1.0
    momentum: Annotated[Cosine, SHARE] = Cosine(0.99, 1.0)
    hidden: Count = 4096
    out: Count = 256
    layers: Literal[2, 3] = 2
    predictor_norm: bool = False
    frozen_patches: bool = False


class MoCoV3(Method):
    """Pick out the slow encoder's key of the other view among those of the global batch."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: MoCoV3Config) -> None:
        super().__init__(given)
        encoder, hidden, out = given.encoder, config.hidden, config.out
        self.config = config
        if config.frozen_patches and not encoder.patch_embedding():
            raise UsageError(
                f"{type(encoder).__name__} makes no patches that could be frozen. "
                "Set --method.no-frozen-patches, or a ViT by --encoder.name vit."
            )
        for p in encoder.patch_embedding() if config.frozen_patches else []:
            p.requires_grad = False
        sizes = [encoder.dim, *[hidden] * (config.layers - 1), out]
        self.online = Branch(encoder, _mlp(sizes, last_norm="plain"))
        last = "plain" if config.predictor_norm else "none"
        self.predictor = _mlp([out, hidden, out], last_norm=last)
        self.target = EMA(self.online, config.momentum)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The sum of both directions, times 2T; each view has batch statistics of its own."""
        views, temperature = batch.views["global"][:, :2], self.config.temperature
        with torch.no_grad():
            keys = unit(self.target.copy.apart(views)[1]).unbind(1)
        embedding, z = self.online.apart(views)
        queries = unit(apart(self.predictor, z)).unbind(1)
        losses = [
            batch_info_nce(query, key, temperature=temperature)
            for query, key in zip(queries, keys[::-1], strict=True)
        ]
        loss = torch.stack(losses).sum()
        floor = loss.detach() / len(losses) / math.log(len(comm.gather(batch.index)))
        return Step(
            {"info_nce": 2 * temperature * loss},
            embedding=self.embedded(embedding),
            projection=z,
            watch={"contrastive_floor": floor},
        )

    def after_step(self, clock: Clock) -> None:
        """The slow encoder follows."""
        self.target.follow(self.online, clock)
