"""MoCo. He et al. 2020, arXiv:1911.05722; v2: Chen et al. 2020, arXiv:2003.04297."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import SHARE, Count, Natural, Positive
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import info_nce, unit
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp
from manyviews.parts.memory import Queue
from manyviews.parts.norm import BatchNorm, convert, shuffled
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class MoCoConfig:
    """Defaults: v2 on ImageNet, facebookresearch/moco README and moco/builder.py.

    Attributes:
        temperature: of the softmax; v1 has 0.07.
        queue: keys kept as negatives.
        momentum: of the key encoder.
        hidden: width of the head's hidden layer; 0 takes the encoder's.
        out: width of its output.
        layers: of the head, 2 (v2) or 1 (v1).
        norm_groups: parts of the global batch with batch-norm statistics of their own, the keys
            in shuffled order, as on the authors' 8 GPUs; 0 leaves the encoder's norms alone and
            does not shuffle.
        symmetric: add the loss with the views exchanged, as the authors' CIFAR notebook does.
    """

    temperature: Positive = 0.2
    queue: Count = 65536
    momentum: Annotated[Cosine, SHARE] = Cosine(0.999, 0.999)
    hidden: Natural = 0
    out: Count = 128
    layers: Literal[1, 2] = 2
    norm_groups: Natural = 8
    symmetric: bool = False


class MoCo(Method):
    """Match a query to its slow key against a queue of older keys.

    Keys enter the queue after the loss, so a key is never its own negative. The key encoder
    follows after each optimiser step, the authors' before each key forward: the same weights.
    """

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: MoCoConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config = config
        hidden = [config.hidden or encoder.dim] * (config.layers - 1)
        self.online = Branch(encoder, mlp([encoder.dim, *hidden, config.out], norm=False))
        if config.norm_groups:
            convert(self.online, groups=config.norm_groups)
        self.target = EMA(self.online, config.momentum)
        has_norm = any(isinstance(module, BatchNorm) for module in self.online.modules())
        self.shuffles = config.norm_groups > 0 and has_norm
        self.queue = Queue(config.queue, config.out)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """InfoNCE of view 0's query against view 1's key, plus the reverse if symmetric."""
        one, two = batch.views["global"].unbind(1)[:2]
        pairs = [(one, two), (two, one)] if self.config.symmetric else [(one, two)]
        online = [self.online(view) for view, _ in pairs]
        queries = [unit(query) for _, query in online]
        keys = [self._key(view, clock) for _, view in pairs]
        losses = [
            info_nce(query, key, self.queue.items, temperature=self.config.temperature)
            for query, key in zip(queries, keys, strict=True)
        ]
        loss = torch.stack(losses).sum()
        floor = loss.detach() / len(pairs) / math.log(1 + self.config.queue)
        embedding = torch.stack([features.pooled for features, _ in online], dim=1)
        return Step(
            {"info_nce": loss},
            embedding=self.embedded(embedding),
            projection=torch.stack(queries, dim=1),
            fresh={"keys": torch.stack(keys)},
            watch={"contrastive_floor": floor},
        )

    def _key(self, view: Tensor, clock: Clock) -> Tensor:
        if self.shuffles:
            return shuffled(lambda x: unit(self.target(x)[1]), view, seed=clock.step)
        return unit(self.target(view)[1])

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Store the keys, view by view."""
        for keys in step.fresh["keys"]:
            self.queue.push(keys)

    def after_step(self, clock: Clock) -> None:
        """The key encoder follows the query encoder."""
        self.target.follow(self.online, clock)
