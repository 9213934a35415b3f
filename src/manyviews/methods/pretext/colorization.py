"""Colorization. Zhang et al. 2016, arXiv:1603.08511; richzhang/colorization."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.lab import from_lab, to_lab
from manyviews.core.ranges import Natural, NotNegative, Positive, Range, Share
from manyviews.losses.classification import soft_classify
from manyviews.parts.gamut import Rarity, colour_bins, soft_bins
from manyviews.parts.heads import mlp
from manyviews.parts.teaching import token_width


@dataclass(frozen=True, kw_only=True)
class ColorizationConfig:
    """Defaults: richzhang/colorization resources/caffe_traininglayers.py.

    Attributes:
        places: r: colours are told at r x r places of each of the encoder's tokens.
        hidden: width of a hidden layer before the answers; 0 makes the head linear.
        neighbours: bins that a colour is shared among.
        sigma: of the Gaussian by which it is, in units of a and b.
        uniform: lambda, weight of equal shares of the bins where rare ones count more; 1 is no
            rebalancing.
        grey: images whose a and b go nowhere beyond this do not count.
    """

    places: Annotated[int, Range("from 1 to 64", 1, 64)] = 8
    hidden: Natural = 256
    neighbours: Annotated[int, Range("from 1 to 313 bins", 1, 313)] = 10
    sigma: Positive = 5.0
    uniform: Share = 0.5
    grey: NotNegative = 5.0


class Colorization(Method):
    """Tell the colours of an image from its lightness, as one of 313 bins at each place."""

    needs: Mapping[str, int] = {"global": 1}
    most: Mapping[str, int] = {"global": 1}
    bins: Tensor

    def __init__(self, given: Given, config: ColorizationConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        fed = given.encoder.input
        if not isinstance(fed, Pixels) or fed.channels != 3:
            raise UsageError(
                "Colorization wants colour images, of red, green and blue, and the encoder is fed "
                f"{getattr(fed, 'channels', 'no')} channels. Give such images, or take another "
                "method."
            )
        self.mean, self.std = fed.mean, fed.std
        self.register_buffer("bins", colour_bins().clone())
        answers = len(self.bins) * config.places**2
        hidden = [config.hidden] * (config.hidden > 0)
        self.head = mlp([token_width(given.encoder), *hidden, answers])
        self.rarity = Rarity(len(self.bins), uniform=config.uniform)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy with the bins at all places, rare colours counting more."""
        lab = self._lab(batch.views["global"][:, 0])
        features = self.backbone(self._grey(lab[:, :1]))
        tokens, r = features.tokens, self.config.places
        logits = self.head(tokens.flatten(0, 1)).view(*tokens.shape[:2], r * r, len(self.bins))
        colours = self._places(lab[:, 1:])
        index, share = self._encode(colours)
        coloured = (lab[:, 1:].abs() > self.config.grey).flatten(1).any(dim=1)
        factor = self.rarity.factor[index[..., 0]] * coloured[:, None, None]
        loss = soft_classify(logits, index, share, factor=factor)
        return Step({"colours": loss}, embedding=self.embedded(features.pooled[:, None]))

    def _lab(self, view: Tensor) -> Tensor:
        """[B, C, S, S] as fed -> [B, 3, S, S] Lab."""
        return to_lab(self.backbone.input.restore(view).clamp(0, 1))

    def _grey(self, light: Tensor) -> Tensor:
        """[B, 1, S, S] lightness -> grey images as the encoder is fed, which show nothing else."""
        shown = from_lab(torch.cat([light, torch.zeros_like(light).expand(-1, 2, -1, -1)], dim=1))
        mean, std = (shown.new_tensor(x).view(-1, 1, 1) for x in (self.mean, self.std))
        return (shown - mean) / std

    def _places(self, ab: Tensor) -> Tensor:
        """[B, 2, S, S] -> [B, N, r * r, 2]: means of the places of each token, row by row."""
        r, (rows, columns) = self.config.places, self.backbone.grid
        means = F.adaptive_avg_pool2d(ab, (rows * r, columns * r))
        cells = means.unflatten(3, (columns, r)).unflatten(2, (rows, r))  # [B, 2, rows, r, cols, r]
        return cells.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)

    def _encode(self, colours: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        return soft_bins(colours, self.bins, count=config.neighbours, sigma=config.sigma)

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Before the first, measure how rare the colours are in the data."""
        if not self.rarity.prior.any():
            self.rarity.measure(embed_all(self._shares, share=True))

    @torch.no_grad()
    def _shares(self, views: Mapping[str, Tensor]) -> Tensor:
        """[B, Q]: how much of each image is in each bin."""
        colours = self._places(self._lab(views[next(iter(self.encoders))])[:, 1:])
        index, share = (x.flatten(1) for x in self._encode(colours))
        found = share.new_zeros(len(share), len(self.bins)).scatter_add_(1, index, share)
        return found / found.sum(dim=1, keepdim=True)
