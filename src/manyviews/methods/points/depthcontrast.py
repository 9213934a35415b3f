"""DepthContrast. Zhang et al. 2021, arXiv:2101.02691; facebookresearch/DepthContrast."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import SHARE, Count, Natural, NotNegative, Positive
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import info_nce, unit
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp
from manyviews.parts.norm import convert, shuffled
from manyviews.parts.queue import Queue
from manyviews.parts.targets import EMA

FORMATS = ("points", "voxels")


@dataclass(frozen=True, kw_only=True)
class DepthContrastConfig:
    """Defaults: facebookresearch/DepthContrast configs/point_vox_template.yaml.

    Attributes:
        within: weight of each format's loss against its own keys; 0 leaves it out.
        across: weight of each format's loss against the other's keys; 0 leaves it out.
        temperature: of the softmax.
        queue: keys of each format kept as negatives.
        momentum: of the key encoders.
        hidden: width of the heads' hidden layer; 0 takes the encoder's.
        out: width of their output.
        norm_groups: parts of the global batch with batch-norm statistics of their own, the keys
            in shuffled order, as on the authors' 32 GPUs; 0 leaves the encoders' norms alone and
            does not shuffle.
    """

    within: NotNegative = 0.5
    across: NotNegative = 0.5
    temperature: Positive = 0.1
    queue: Count = 131072
    momentum: Annotated[Cosine, SHARE] = Cosine(0.999, 0.999)
    hidden: Natural = 0
    out: Count = 128
    norm_groups: Natural = 32

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Nothing to learn from."""
        if not self.within and not self.across:
            yield "within", self.within, "a number above 0 for it or for across"


class DepthContrast(Method):
    """One cloud as points and as voxels: each picks out the other view of it, in both formats."""

    needs: Mapping[str, int] = {"points": 2, "voxels": 2}
    most = needs
    trains = FORMATS

    def __init__(self, given: Given, config: DepthContrastConfig) -> None:
        super().__init__(given)
        self.config = config
        self.online, self.queues = nn.ModuleDict(), nn.ModuleDict()
        for name in FORMATS:
            encoder = given.encoders[name]
            sizes = [encoder.dim, config.hidden or encoder.dim, config.out]
            self.online[name] = Branch(encoder, mlp(sizes, norm=False))
            self.queues[name] = Queue(config.queue, config.out)
        if config.norm_groups:
            convert(self.online, groups=config.norm_groups)
        self.target = EMA(self.online, config.momentum)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """InfoNCE of each format's first view against either format's key of the second."""
        views = {name: batch.views[name].unbind(1) for name in FORMATS}
        found = {name: cast(Branch, self.online[name])(views[name][0]) for name in FORMATS}
        queries = {name: unit(out) for name, (_, out) in found.items()}
        keys = {name: self._key(name, views[name][1], clock) for name in FORMATS}
        losses: dict[str, Tensor] = {}
        floor: list[Tensor] = []
        for query in FORMATS:
            for key in FORMATS:
                weight = self.config.within if query == key else self.config.across
                if weight:
                    loss = self._nce(queries[query], keys[key], key)
                    losses[f"{query}_to_{key}"] = weight * loss
                    floor.append(loss.detach() / math.log(1 + self.config.queue))
        return Step(
            losses,
            embedding={name: f.pooled[:, None].detach() for name, (f, _) in found.items()},
            projection=torch.stack(list(queries.values()), dim=1),
            fresh=keys,
            watch={"contrastive_floor": torch.stack(floor).mean()},
        )

    def _nce(self, query: Tensor, key: Tensor, of: str) -> Tensor:
        items = cast(Queue, self.queues[of]).items
        return info_nce(query, key, items, temperature=self.config.temperature)

    @torch.no_grad()
    def _key(self, name: str, view: Tensor, clock: Clock) -> Tensor:
        slow = cast(Branch, self.target.copy[name])
        if not self.config.norm_groups:
            return unit(slow(view)[1])
        return shuffled(lambda x: unit(slow(x)[1]), view, seed=clock.step)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Store the keys of both formats."""
        for name in FORMATS:
            cast(Queue, self.queues[name]).push(step.fresh[name])

    def after_step(self, clock: Clock) -> None:
        """The key encoders follow the query encoders."""
        self.target.follow(self.online, clock)
