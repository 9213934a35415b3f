"""How a clip is played. Benaim et al. 2020 (SpeedNet); Wang et al. 2020 (pace); Wei et al. 2018."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Natural, Several
from manyviews.losses.classification import answer_std, classify
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class PlaybackConfig:
    """Settings of playback; the speeds belong to the view plan.

    Attributes:
        classes: ways of playing, one a view.
        hidden: width of a hidden layer before the answer; 0 for one linear layer.
    """

    classes: Several = 4
    hidden: Natural = 0


class Playback(Method):
    """Tell which view is which: view v of every sample is played in way v, all in one batch."""

    needs: Mapping[str, int] = {"global": 4}
    most: Mapping[str, int] = {"global": 4}
    of_one = ("global",)

    def __init__(self, given: Given, config: PlaybackConfig) -> None:
        super().__init__(given)
        self.needs = self.most = {"global": config.classes}
        self.backbone = given.encoder
        hidden = [config.hidden] * (config.hidden > 0)
        self.head = mlp([given.encoder.dim, *hidden, config.classes])

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over views, in one pass."""
        views = batch.views["global"][:, : self.needs["global"]]
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, views)
        which = torch.arange(h.shape[1], device=h.device).expand(h.shape[:2])
        logits = flat(self.head, h)
        loss = classify(logits, which)
        return Step(
            {"playback": loss},
            self.embedded(h[:, :1]),
            watch={
                "over_guess": loss.detach() / math.log(h.shape[1]),
                "answer_std": answer_std(logits),
            },
        )
