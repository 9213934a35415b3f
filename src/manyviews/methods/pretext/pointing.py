"""Colorization by pointing. Vondrick et al. 2018, arXiv:1806.09594."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, UsageError, flat
from manyviews.core.inputs import Frames, Pixels
from manyviews.core.lab import to_lab
from manyviews.core.ranges import Count, Positive, Several
from manyviews.losses.classification import copied
from manyviews.parts.palette import Palette
from manyviews.parts.teaching import token_width

_LEAST = 1e-6
"""Of the share of a colour, so that one that no reference has costs no more than ln 1e6."""
_PLACES = 16
"""Of each sample, whose colours the palette is made of."""


@dataclass(frozen=True, kw_only=True)
class PointingConfig:
    """Defaults: the paper's, second-hand: from wbaek/tracking_via_colorization, not the authors.

    Attributes:
        colours: K, clusters of the data's colours; one of them is copied to each place.
        out: width of what places are compared by.
        temperature: of the comparison.
    """

    colours: Several = 16
    out: Count = 64
    temperature: Positive = 1.0


class Pointing(Method):
    """Give a grey frame its colours by pointing to where earlier frames have them."""

    needs: Mapping[str, int] = {"global": 2}
    of_one = ("global",)

    def __init__(self, given: Given, config: PointingConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        fed, grid = given.encoder.input, given.encoder.grid
        if not isinstance(fed, Pixels | Frames) or fed.channels != 3:
            raise UsageError(
                "Pointing wants red, green and blue, and the encoder is fed "
                f"{getattr(fed, 'channels', 'no')} channels. Give colours, or take another method."
            )
        self.mean, self.std, self.axes = fed.mean, fed.std, len(fed.shape)
        times, rows, columns = grid if len(grid) == 3 else (1, *grid)
        self.grid = times, rows, columns
        self.needs = {"global": 1 + (times == 1)}
        self.head = nn.Linear(token_width(given.encoder), config.out)
        self.palette = Palette(config.colours)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of the last frame's colours, copied from all frames before it."""
        views, times = batch.views["global"], self.grid[0]
        lab = self._lab(views)
        grey = (lab[..., :1, :, :] / 100).expand_as(lab).movedim(-3, -self.axes)
        features = self.backbone(self._fed(grey).flatten(0, 1))
        places = self.head(features.tokens).unflatten(0, views.shape[:2])
        places = places.unflatten(2, (times, -1)).flatten(1, 2)  # [B, V * times, S, P]
        which = self.palette(flat(self._cells, lab)).unflatten(2, (times, -1)).flatten(1, 2)
        scores = places[:, -1] @ places[:, :-1].flatten(1, 2).transpose(1, 2)
        loss = copied(
            scores / self.config.temperature, which[:, :-1].flatten(1), which[:, -1], least=_LEAST
        )
        pooled = features.pooled.unflatten(0, views.shape[:2])
        return Step({"colours": loss}, embedding=self.embedded(pooled[:, :2]))

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Before the first, find the data's colours."""
        if not self.palette.found:
            self.palette.find(embed_all(self._some).view(-1, 2))

    @torch.no_grad()
    def _some(self, plain: Mapping[str, Tensor]) -> Tensor:
        """[B, 2 * places]: colours of a few places of each sample."""
        [views] = plain.values()
        cells = self._cells(self._lab(views))
        chosen = torch.linspace(0, cells.shape[1] - 1, _PLACES, device=cells.device).long()
        return cells[:, chosen].flatten(1)

    def _lab(self, views: Tensor) -> Tensor:
        """[..., C, (T,) S, S] as fed -> [..., (T,) 3, S, S] Lab."""
        pixels = self.backbone.input.restore(views).clamp(0, 1)
        return to_lab(pixels.movedim(-self.axes, -3))

    def _fed(self, pixels: Tensor) -> Tensor:
        """[..., C, (T,) S, S] in [0, 1] -> as the encoder is fed."""
        shape = (-1, *[1] * (self.axes - 1))
        mean, std = (pixels.new_tensor(x).view(shape) for x in (self.mean, self.std))
        return (pixels - mean) / std

    def _cells(self, lab: Tensor) -> Tensor:
        """[B, (T,) 3, S, S] Lab -> [B, N, 2]: the mean a and b of each of the encoder's places."""
        ab = lab[..., 1:, :, :].movedim(-3, 1)
        ab = ab if ab.ndim == 5 else ab[:, :, None]
        return F.adaptive_avg_pool3d(ab, self.grid).flatten(2).transpose(1, 2)
