"""Multisensory features. Owens and Efros 2018, arXiv:1804.03641; andrewowens/multisensory."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Share
from manyviews.losses.classification import yes_or_no
from manyviews.parts.early_fusion import EarlyFusion
from manyviews.parts.mismatch import seconds, shared_seconds
from manyviews.parts.teaching import token_width


@dataclass(frozen=True, kw_only=True)
class MultisensoryConfig:
    """Defaults: andrewowens/multisensory src/shift_params.py and shift_net.py.

    Attributes:
        overlap: the most of a clip that a shifted sound may share with it; what shares more, as in
            videos that are too short, is not asked about.
        width: channels of the network that sees both.
        depth: of its blocks.
    """

    overlap: Share = 60 / 125
    width: Count = 128
    depth: Count = 2


class Multisensory(Method):
    """Tell a clip with its sound from the same clip with its own sound of another time."""

    needs: Mapping[str, int] = {"video": 1, "audio": 1, "apart": 1, "apart.offset": 1}
    most: Mapping[str, int] = {"video": 1, "audio": 1, "apart": 1}
    trains = ("video", "audio")

    def __init__(self, given: Given, config: MultisensoryConfig) -> None:
        super().__init__(given)
        self.config = config
        self.video, self.audio = (given.encoders[name] for name in self.trains)
        self.clip, self.sound = (seconds(net.input) for net in (self.video, self.audio))
        self.fusion = EarlyFusion(
            (token_width(self.video), token_width(self.audio)),
            (self.video.grid, self.audio.grid),
            width=config.width,
            depth=config.depth,
        )

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of both answers of each clip, whose batch norms see them together."""
        seen = self.video(batch.views["video"][:, 0])
        sounds = torch.cat([batch.views[name][:, 0] for name in ("audio", "apart")])
        heard = self.audio(sounds)
        logits = self.fusion(seen.tokens.repeat(2, 1, 1), heard.tokens)
        offset = batch.cues["apart.offset"][:, 0]
        shared = shared_seconds(offset, clip=self.clip, sound=self.sound)
        counted = shared <= self.config.overlap * self.clip
        in_step, shifted = logits.chunk(2)
        pooled = {"video": seen.pooled, "audio": heard.pooled[: len(offset)]}
        return Step(
            {
                "in_step": yes_or_no(in_step, right=True, counted=counted) / 2,
                "shifted": yes_or_no(shifted, right=False, counted=counted) / 2,
            },
            embedding={name: x[:, None].detach() for name, x in pooled.items()},
        )
