"""MoCo. He et al. 2020, arXiv:1911.05722; v2: Chen et al. 2020, arXiv:2003.04297."""

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, Literal

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import SHARE, Count, Natural, Positive
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import info_nce, unit
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp
from manyviews.parts.norm import BatchNorm, convert, shuffled
from manyviews.parts.queue import Queue
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
        layers: of the head, 2 (v2) or 1 (v1); 3 on video (Feichtenhofer et al. 2021).
        norm_groups: parts of the global batch with batch-norm statistics of their own, the keys
            in shuffled order, as on the authors' 8 GPUs; 0 leaves the encoder's norms alone and
            does not shuffle.
        symmetric: every view is a query in its turn and their losses are added, as the authors'
            CIFAR notebook does; else view 0 alone is.
    """

    temperature: Positive = 0.2
    queue: Count = 65536
    momentum: Annotated[Cosine, SHARE] = Cosine(0.999, 0.999)
    hidden: Natural = 0
    out: Count = 128
    layers: Literal[1, 2, 3] = 2
    norm_groups: Natural = 8
    symmetric: bool = False


class MoCo(Method):
    """Match a query to its slow key against a queue of older keys.

    Keys enter the queue after the loss, so a key is never its own negative. The key encoder
    follows after each optimiser step, the authors' before each key forward: the same weights.
    """

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
        """InfoNCE of a query against each other view's key, the mean; the sum over queries."""
        views = batch.views["global"].unbind(1)
        asking = len(views) if self.config.symmetric else 1
        pairs = [(q, k) for q, k in permutations(range(len(views)), 2) if q < asking]
        online = {v: self.online(views[v]) for v in range(asking)}
        queries = {v: unit(query) for v, (_, query) in online.items()}
        keys = {v: self._key(views[v], clock) for v in dict.fromkeys(key for _, key in pairs)}
        losses = [
            info_nce(queries[q], keys[k], self.queue.items, temperature=self.config.temperature)
            for q, k in pairs
        ]
        loss = torch.stack(losses).mean()
        floor = loss.detach() / math.log(1 + self.config.queue)
        embedding = torch.stack([features.pooled for features, _ in online.values()], dim=1)
        return Step(
            {"info_nce": loss * asking},
            embedding=self.embedded(embedding),
            projection=torch.stack(list(queries.values()), dim=1),
            fresh={"keys": torch.stack(list(keys.values()))},
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
