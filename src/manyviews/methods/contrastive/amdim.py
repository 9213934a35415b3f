"""AMDIM. Bachman et al. 2019, arXiv:1906.00910."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step, UsageError, comm, flat
from manyviews.core.ranges import Count, NotNegative, Positive
from manyviews.losses.infomax import clipped_info_nce
from manyviews.parts.heads import Lift
from manyviews.parts.teaching import token_width

WINDOW = 3
"""Places on a side that the coarser map averages: 7 x 7 places become 5 x 5."""


@dataclass(frozen=True, kw_only=True)
class AMDIMConfig:
    """Defaults: Philip-Bachman/amdim-public train.py, costs.py.

    Attributes:
        clip: c, within which scores are held by c tanh(score / c).
        penalty: weight of the squared scores before that.
        out: dimensions in which whole and places are compared.
    """

    clip: Positive = 20.0
    penalty: NotNegative = 0.05
    out: Count = 1024


class AMDIM(Method):
    """Let a view, and one coarse place of it, pick out the places of the image's other view."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: AMDIMConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config, self.backbone = config, encoder
        if len(encoder.grid) != 2 or min(encoder.grid) < WINDOW:
            raise UsageError(
                f"AMDIM needs a map of {WINDOW} x {WINDOW} places or more; the encoder's is "
                f"{' x '.join(map(str, encoder.grid))}. Set --encoder.image-size higher."
            )
        width = token_width(encoder, instead="Choose another --encoder.name.")
        self.whole = Lift(encoder.dim, config.out, norm=False, last="batch")
        self.coarse = Lift(width, config.out, norm=False, last="batch")
        self.fine = Lift(width, config.out, norm=False, last="batch")

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Three tasks in both directions; norms see both views at once."""
        views = batch.views["global"][:, :2]
        features = self.backbone(views.flatten(0, 1))
        pooled, tokens = (
            x.unflatten(0, views.shape[:2]) for x in (features.pooled, features.tokens)
        )
        whole, fine = self.whole(pooled), self.fine(tokens)
        coarse = self.coarse(flat(self._coarser, tokens))
        losses = self.tasks(whole, coarse, fine, self._asking(batch, coarse, clock))
        return Step(losses, self.embedded(pooled), projection=whole)

    def _asking(self, batch: Batch, coarse: Tensor, clock: Clock) -> Tensor:
        """[B, 2]: a place of each view, drawn anew at every step for the samples of all ranks."""
        generator = torch.Generator().manual_seed(clock.step)
        shape = (len(comm.gather(batch.index)), 2)
        drawn = torch.randint(coarse.shape[2], shape, generator=generator)
        return comm.share(drawn).to(coarse.device)

    def _coarser(self, tokens: Tensor) -> Tensor:
        """[B, H * W, D] -> [B, (H - 2) * (W - 2), D], means of 3 x 3 places."""
        maps = tokens.transpose(1, 2).unflatten(2, self.backbone.grid)
        return F.avg_pool2d(maps, WINDOW, stride=1).flatten(2).transpose(1, 2)

    def tasks(
        self, whole: Tensor, coarse: Tensor, fine: Tensor, place: Tensor
    ) -> dict[str, Tensor]:
        """The losses, from each view to the other.

        Args:
            whole: [B, 2, P].
            coarse: [B, 2, M, P].
            fine: [B, 2, L, P].
            place: [B, 2] int64, the coarse place of each view that asks.
        """
        picked = coarse.take_along_dim(place[..., None, None], dim=2)[:, :, 0]
        pairs = {"one_to_coarse": (whole, coarse), "one_to_fine": (whole, fine)}
        pairs["coarse_to_coarse"] = (picked, coarse)
        losses, squares = dict[str, Tensor](), list[Tensor]()
        for name, (source, target) in pairs.items():
            found = [
                clipped_info_nce(source[:, v], target[:, 1 - v], clip=self.config.clip)
                for v in range(2)
            ]
            losses[name] = torch.stack([loss for loss, _ in found]).mean()
            squares += [square for _, square in found]
        losses["penalty"] = self.config.penalty * torch.stack(squares).sum() / 2
        return losses
