"""What features have to beat: what samples give without any encoder."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from manyviews.core.inputs import Frames, Input, LogMel, Pixels, Points
from manyviews.evaluation.features import Embed

NUMBERS = 1024
"""Of an image that are compared, at most: at 224 pixels they would be 150,000."""
_OF_A_CLIP = 4096
_SIDE = 16
"""Of the frames whose differences are taken, in pixels."""
_POINTS, _BINS = 256, 64

Scale = Callable[[Tensor], Callable[[Tensor], Tensor]]
"""From features of the training part [N, D] to what is done to all."""


def unchanged(train: Tensor) -> Callable[[Tensor], Tensor]:
    """Nothing."""
    del train
    return lambda x: x


def centred(train: Tensor) -> Callable[[Tensor], Tensor]:
    """Less the training mean: what a fair cosine of numbers above 0 looks at."""
    mean = train.double().mean(dim=0).float()
    return lambda x: x - mean.to(x.device)


def standard(train: Tensor) -> Callable[[Tensor], Tensor]:
    """Likewise, and over the training deviation, where numbers have several units."""
    mean = train.double().mean(dim=0).float()
    std = train.double().std(dim=0, correction=0).float().clamp(min=1e-6)
    return lambda x: (x - mean.to(x.device)) / std.to(x.device)


@dataclass(frozen=True)
class Floor:
    """What can be had without an encoder.

    Attributes:
        of: its numbers before `scale`; floors of the same are embedded once.
        input: what it is made of.
        embed: [B, *shape], as that input gives it, -> [B, D].
        scale: what is done to it before it is compared.
    """

    of: str
    input: Input
    embed: Embed
    scale: Scale


def floors(input: Input) -> dict[str, Floor]:
    """Name -> what samples give that an encoder is fed as `input`; nothing of other kinds."""
    make = FLOORS.get(type(input))
    return make(input) if make else {}


def pixels(input: Input) -> Embed:
    """The pixels of an image or a clip themselves, in [0, 1], one after the other.

    Args:
        input: whose normalisation is taken back.
    """
    return lambda x: input.restore(x.float()).flatten(1)


def _of_images(input: Pixels) -> dict[str, Floor]:
    small = replace(input, side=min(input.side, math.isqrt(NUMBERS // input.channels) or 1))
    one = Floor("pixels", small, pixels(small), unchanged)
    return {"raw pixels": one, "centred pixels": replace(one, scale=centred)}


def _of_clips(input: Frames) -> dict[str, Floor]:
    side = math.isqrt(_OF_A_CLIP // (input.channels * input.frames)) or 1
    small = replace(input, side=min(input.side, side))
    found = {"raw clip": Floor("clip", small, pixels(small), centred)}
    if input.frames > 1:
        seen = replace(input, side=min(input.side, _SIDE))

        def change(x: Tensor) -> Tensor:
            return seen.restore(x.float()).diff(dim=2).abs().mean(dim=2).flatten(1)

        found["frame differences"] = Floor("differences", seen, change, centred)
    return found


def _of_sounds(input: LogMel) -> dict[str, Floor]:
    def over_time(x: Tensor) -> Tensor:
        bands = input.restore(x.float())[:, 0]
        return torch.cat([bands.mean(dim=1), bands.std(dim=1, correction=0)], dim=1)

    return {"mean log-mel": Floor("log-mel", input, over_time, standard)}


def _of_clouds(input: Points) -> dict[str, Floor]:
    def distances(x: Tensor) -> Tensor:
        """Shares of the distances of two points, by their share of the largest: square roots."""
        places = x[:, :_POINTS, :3].float()
        apart = torch.cdist(places, places).flatten(1)
        apart = apart / apart.amax(dim=1, keepdim=True).clamp(min=1e-12)
        bins = (apart * _BINS).long().clamp(max=_BINS - 1)
        counts = torch.zeros(len(x), _BINS, device=x.device)
        counts.scatter_add_(1, bins, torch.ones_like(apart))
        return (counts / apart.shape[1]).sqrt()

    return {"pair distances": Floor("pair distances", input, distances, centred)}


FLOORS: Mapping[type[Any], Callable[[Any], dict[str, Floor]]] = {
    Pixels: _of_images,
    Frames: _of_clips,
    LogMel: _of_sounds,
    Points: _of_clouds,
}
"""Kind of input -> what stands beside encoders that are fed it."""
