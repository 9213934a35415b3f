"""V-JEPA. Bardes et al. 2024, arXiv:2404.08471; facebookresearch/jepa."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import nn

from manyviews.core import Batch, Clock, Encoder, Given, Method, Step, wide
from manyviews.core.ranges import SHARE, Count
from manyviews.core.schedules import Ramp
from manyviews.losses.reconstruction import blockwise_l1
from manyviews.parts.dropout import without_dropout
from manyviews.parts.masking import check_views, patch_of, places, take, visible
from manyviews.parts.predictor import Predictor
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class VJEPAConfig:
    """Defaults: the authors' ViT-L/16; contexts and targets belong to the view plan.

    Attributes:
        width: of the predictor.
        depth: of the predictor, in blocks.
        heads: of the predictor; the authors take as many as the encoder has.
        questions: mask tokens; set m of targets is asked for by number m, from the front again
            after the last.
        momentum: share of the old target encoder that an update keeps; the authors' line would
            reach 1 after 1.25 times their training.
    """

    width: Count = 384
    depth: Count = 12
    heads: Count = 16
    questions: Count = 2
    momentum: Annotated[Ramp, SHARE] = Ramp(0.998, 0.9996, fraction=1.0)


class VJEPA(Method):
    """From a small part of a clip predict what a slow encoder makes of the rest, at all times."""

    needs: Mapping[str, int] = {"global": 1, "global.contexts": 1, "global.targets": 1}
    tokens = True

    def __init__(self, given: Given, config: VJEPAConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        patch_of(encoder, "V-JEPA")
        self.online = encoder
        self.predictor = Predictor(
            encoder.dim,
            grid=encoder.grid,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            questions=config.questions,
        )
        nn.init.zeros_(self.predictor.mask_token)
        self.target = EMA(encoder, config.momentum)
        without_dropout(self.target)
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The target encoder, as the authors evaluate."""
        return dict.fromkeys(super().encoders, self.target.copy)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The error of the predicted tokens; the mean over sets of targets."""
        views = batch.views["global"]
        clips = views.flatten(0, 1)
        contexts, targets = (  # [B V, M, N]
            batch.cues[f"global.{cue}"].flatten(0, 1) for cue in ("contexts", "targets")
        )
        check_views(self.online, clips, contexts[:, 0], "V-JEPA")
        whole = self.target(clips)
        hoped = F.layer_norm(wide(whole.tokens), whole.tokens.shape[-1:])
        losses = []
        for number in range(contexts.shape[1]):
            keep = visible(~contexts[:, number])
            wanted, present = places(targets[:, number : number + 1])
            tokens = self.online(clips, keep=keep).tokens
            question = number % self.config.questions
            made = self.predictor(tokens, keep, wanted, present, question=question)
            losses.append(blockwise_l1(made, take(hoped, wanted[:, 0])[:, None], present))
        return Step(
            {"regression": torch.stack(losses).mean()},
            self.embedded(whole.pooled.unflatten(0, views.shape[:2])),
        )

    def after_step(self, clock: Clock) -> None:
        """The target encoder follows."""
        self.target.follow(self.online, clock)
