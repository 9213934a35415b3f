"""SwAV. Caron et al. 2020, arXiv:2006.09882; facebookresearch/swav."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Group, Method, Step, comm, flat, wide
from manyviews.core.ranges import Count, Natural, Positive, Several, Share
from manyviews.losses.clustering import swapped_cross_entropy
from manyviews.parts.assign import entropies, sinkhorn
from manyviews.parts.branch import Branch
from manyviews.parts.crops import encode_crops
from manyviews.parts.heads import mlp
from manyviews.parts.prototypes import Prototypes
from manyviews.parts.queue import Queue


@dataclass(frozen=True, kw_only=True)
class SwAVConfig:
    """Settings of SwAV; the defaults are those of the authors' 200 epochs at batch size 256.

    Attributes:
        hidden: width of the projector's hidden layer.
        out: width of its output.
        prototypes: K.
        temperature: of the predictions.
        sharpness: epsilon of Sinkhorn; smaller makes assignments harder.
        rounds: of Sinkhorn.
        queue: embeddings of earlier images that are assigned along with the batch, for all ranks
            together; 0 for none. For batches smaller than about ten times `prototypes`.
        queue_from: share of training after which the queue starts to fill.
        frozen_until: share of training with fixed prototypes (the authors: the first epoch).
    """

    hidden: Count = 2048
    out: Count = 128
    prototypes: Several = 3000
    temperature: Positive = 0.1
    sharpness: Positive = 0.05
    rounds: Count = 3
    queue: Natural = 3840
    queue_from: Share = 0.075
    frozen_until: Share = 0.005


class SwAV(Method):
    """Predict the balanced cluster assignment of each of two global views from all other views."""

    needs: Mapping[str, int] = {"global": 2, "local": 0}

    def __init__(self, given: Given, config: SwAVConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.online = Branch(encoder, mlp([encoder.dim, config.hidden, config.out]))
        self.prototypes = Prototypes(config.out, config.prototypes)
        self.queue = Queue(config.queue, 2 * config.out)  # one row: both assigned views
        self.queue.items.zero_()  # a row of zeros is an empty row
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The swapped prediction loss."""
        h = encode_crops(self.encoder, batch.views)
        z = F.normalize(wide(flat(self.online.head, h)), dim=-1)  # [B, V, P], global views first
        scores = self.prototypes(z)
        target = self._assign(z[:, :2].detach(), scores[:, :2].detach())
        loss = swapped_cross_entropy(scores, target, temperature=self.config.temperature)
        count = batch.views["global"].shape[1]
        return Step(
            {"swap": loss},
            self.embedded(h[:, :count]),
            projection=z[:, :count],
            clusters=scores[:, :count] / self.config.temperature,
            fresh={"keys": z[:, :2].detach().flatten(1)},
            watch=entropies(target),
        )

    def assign(self, images: Tensor) -> Tensor:
        """Share [B, K] of each prototype in images [B, C, H, W], before Sinkhorn evens them out."""
        z = F.normalize(wide(self.online(images)[1]), dim=-1)
        return (self.prototypes(z) / self.config.temperature).softmax(dim=-1)

    def _assign(self, z: Tensor, scores: Tensor) -> Tensor:
        """[B, 2, P] embeddings and [B, 2, K] scores -> [B, 2, K] assignments."""
        past = scores[:0]
        if self.config.queue and self.queue.items[-1].any():  # it is full
            rows = comm.share(self.queue.items).unflatten(1, z.shape[1:])
            past = self.prototypes(rows).detach()
        known = torch.cat([past, scores])
        targets = [
            sinkhorn(view, temperature=self.config.sharpness, rounds=self.config.rounds)
            for view in known.unbind(1)
        ]
        return torch.stack(targets, dim=1)[len(past) :]

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Queue this batch's embeddings, of all ranks."""
        if self.config.queue and clock.progress >= self.config.queue_from:
            self.queue.push(step.fresh["keys"])

    def after_step(self, clock: Clock) -> None:
        """Put the prototypes back on the sphere."""
        self.prototypes.normalise_()

    def param_groups(self) -> list[Group]:
        """The prototypes stay as they are at first."""
        online = [p for p in self.online.parameters() if p.requires_grad]
        prototypes = Group([self.prototypes.weight], frozen_until=self.config.frozen_until)
        return [Group(online), prototypes]
