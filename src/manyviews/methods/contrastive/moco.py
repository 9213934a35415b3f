"""MoCo. He et al. 2020, arXiv:1911.05722; v2: Chen et al. 2020, arXiv:2003.04297.

Its branch of shuffled tiles is InfoMin's: Tian et al. 2020, arXiv:2005.10243.
"""

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import SHARE, Count, Natural, Positive, Share
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import info_nce, unit
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp
from manyviews.parts.norm import BatchNorm, convert, shuffled
from manyviews.parts.queue import Queue
from manyviews.parts.targets import EMA

TILES = 9


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
        jigsaw: weight of nine shuffled tiles ("tiles") that have to find the same keys, the image
            having the rest; InfoMin has 0.5 (HobbitLong/PyContrast train_options.py), 0 is MoCo.
    """

    temperature: Positive = 0.2
    queue: Count = 65536
    momentum: Annotated[Cosine, SHARE] = Cosine(0.999, 0.999)
    hidden: Natural = 0
    out: Count = 128
    layers: Literal[1, 2, 3] = 2
    norm_groups: Natural = 8
    symmetric: bool = False
    jigsaw: Share = 0.0


class MoCo(Method):
    """Match a query to its slow key against a queue of older keys.

    Keys enter the queue after the loss, so a key is never its own negative. The key encoder
    follows after each optimiser step, the authors' before each key forward: the same weights.
    """

    of_one = ("tiles",)

    def __init__(self, given: Given, config: MoCoConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config = config
        hidden = [config.hidden or encoder.dim] * (config.layers - 1)
        sizes = [encoder.dim, *hidden, config.out]
        self.online = Branch(encoder, mlp(sizes, norm=False))
        if config.norm_groups:
            convert(self.online, groups=config.norm_groups)
        self.target = EMA(self.online, config.momentum)
        has_norm = any(isinstance(module, BatchNorm) for module in self.online.modules())
        self.shuffles = config.norm_groups > 0 and has_norm
        self.queue = Queue(config.queue, config.out)
        if config.jigsaw:
            self.needs, self.most = {"global": 2, "tiles": TILES}, {"tiles": TILES}
            self.tile_head = mlp(sizes, norm=False)
            self.join = nn.Linear(TILES * config.out, config.out)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """InfoNCE of a query against each other view's key, the mean; the sum over queries.

        Shuffled tiles are one more query of every key.
        """
        views = batch.views["global"].unbind(1)
        asking = len(views) if self.config.symmetric else 1
        pairs = [(q, k) for q, k in permutations(range(len(views)), 2) if q < asking]
        online = {v: self.online(views[v]) for v in range(asking)}
        queries = {v: unit(query) for v, (_, query) in online.items()}
        keys = {v: self._key(views[v], clock) for v in dict.fromkeys(key for _, key in pairs)}
        loss = torch.stack([self._finding(queries[q], keys[k]) for q, k in pairs]).mean() * asking
        losses = {"info_nce": loss}
        if self.config.jigsaw:
            joined, share = self._joined(batch.views["tiles"]), self.config.jigsaw
            found = torch.stack([self._finding(joined, key) for key in keys.values()]).mean()
            losses = {"info_nce": (1 - share) * loss, "tiles": share * found * asking}
        floor = torch.stack([*losses.values()]).detach().sum() / asking
        embedding = torch.stack([features.pooled for features, _ in online.values()], dim=1)
        return Step(
            losses,
            embedding=self.embedded(embedding),
            projection=torch.stack(list(queries.values()), dim=1),
            fresh={"keys": torch.stack(list(keys.values()))},
            watch={"contrastive_floor": floor / math.log(1 + self.config.queue)},
        )

    def _finding(self, query: Tensor, key: Tensor) -> Tensor:
        queue, temperature = self.queue.items, self.config.temperature
        return info_nce(query, key, queue, temperature=temperature)

    def _joined(self, tiles: Tensor) -> Tensor:
        """[B, P] unit vectors of shuffled tiles [B, V, C, s, s], side by side in their order."""
        h = flat(lambda x: self.online.encoder(x, tokens=False).pooled, tiles)
        return unit(self.join(flat(self.tile_head, h).flatten(1)))

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
