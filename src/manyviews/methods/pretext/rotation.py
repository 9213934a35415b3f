"""RotNet. Gidaris et al. 2018, arXiv:1803.07728; gidariss/FeatureLearningRotNet.

Of clips, which are turned as a whole: Jing et al. 2018 (3DRotNet), arXiv:1811.11387.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Natural
from manyviews.losses.classification import answer_std, classify
from manyviews.parts.heads import mlp

TURNS = 4


@dataclass(frozen=True, kw_only=True)
class RotationConfig:
    """Defaults: the paper's.

    Attributes:
        hidden: width of a hidden layer before the answer; 0 for one linear layer.
    """

    hidden: Natural = 0


class Rotation(Method):
    """Tell by how many quarter turns an image was turned; every image is seen in all four."""

    needs: Mapping[str, int] = {"global": 1}
    most: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: RotationConfig) -> None:
        super().__init__(given)
        self.backbone = given.encoder
        self.head = mlp([given.encoder.dim, *[config.hidden] * (config.hidden > 0), TURNS])

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over all four turns of every image, in one pass."""
        four = turned(batch.views["global"][:, 0])
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, four)
        logits = flat(self.head, h)
        turns = torch.arange(TURNS, device=h.device).expand(len(h), TURNS)
        loss = classify(logits, turns)
        return Step(
            {"turns": loss},
            embedding=self.embedded(h[:, :1]),
            watch={
                "over_guess": loss.detach() / math.log(TURNS),
                "answer_std": answer_std(logits),
            },
        )


def turned(images: Tensor) -> Tensor:
    """[B, ..., S, S] -> [B, 4, ..., S, S]: turned by 0, 1, 2, 3 quarters, counter-clockwise."""
    return torch.stack([images.rot90(k, (-2, -1)) for k in range(TURNS)], dim=1)
