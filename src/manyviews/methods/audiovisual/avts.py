"""AVTS. Korbar, Tran and Torresani 2018, arXiv:1807.00230."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Positive, Share
from manyviews.losses.margin import apart, together
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp
from manyviews.parts.mismatch import of_another, seconds, shared_seconds


@dataclass(frozen=True, kw_only=True)
class AVTSConfig:
    """Settings of AVTS.

    Attributes:
        margin: distance from which on a pair that does not belong together costs nothing.
        hard: share of the negatives that are the clip's own sound at another time.
        hard_from: part of the training before which all of them are of other videos; 5/9 is the
            paper's curriculum, 50 of 90 epochs, which the recipe has.
        hidden: width of the heads' hidden layer.
        out: width of their output.
    """

    margin: Positive = 0.99
    hard: Share = 0.25
    hard_from: Share = 0.0
    hidden: Count = 512
    out: Count = 128


class AVTS(Method):
    """Tell whether a clip and a sound are in step: first from other videos', then from its own."""

    needs: Mapping[str, int] = {"video": 1, "audio": 1, "apart": 1, "apart.offset": 1}
    most: Mapping[str, int] = {"video": 1, "audio": 1, "apart": 1}
    trains = ("video", "audio")

    def __init__(self, given: Given, config: AVTSConfig) -> None:
        super().__init__(given)
        self.config = config
        self.branches = nn.ModuleDict()
        for name in self.trains:
            encoder = given.encoders[name]
            head = mlp([encoder.dim, config.hidden, config.out], norm=False)
            self.branches[name] = Branch(encoder, head)
        self.clip, self.sound = (seconds(given.encoders[name].input) for name in self.trains)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Squared distances of pairs in step, and what others lack of the margin."""
        seen, clip = self.branches["video"](batch.views["video"][:, 0])
        heard, sound = self.branches["audio"](batch.views["audio"][:, 0])
        margin = self.config.margin
        hard = self.config.hard if clock.progress >= self.config.hard_from else 0.0
        of_others = apart(clip, of_another(sound), margin=margin)
        losses = {"in_step": together(clip, sound) / 2, "of_others": of_others * (1 - hard) / 2}
        if hard:
            _, late = self.branches["audio"](batch.views["apart"][:, 0])
            offset = batch.cues["apart.offset"][:, 0]
            counted = shared_seconds(offset, clip=self.clip, sound=self.sound) <= 0
            losses["out_of_step"] = apart(clip, late, margin=margin, counted=counted) * hard / 2
        embedding = {"video": seen, "audio": heard}
        return Step(losses, {k: f.pooled[:, None].detach() for k, f in embedding.items()})

    def compared(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """[B, P] of plain views of each, behind its head."""
        return {name: self.branches[name](views[name])[1] for name in self.trains}

    def alike(self, video: Tensor, audio: Tensor) -> Tensor:
        """[Q, P] and [N, P] -> [Q, N]: less the distance, which the loss is made of."""
        return -torch.cdist(video, audio)
