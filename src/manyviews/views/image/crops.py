"""Crops of images as one of the families of a pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Input, Pixels
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import Ints
from manyviews.views.image.engine import Engine
from manyviews.views.image.whole import OfWhole
from manyviews.views.masks import Masks, fits_masks
from manyviews.views.plan import Crops


def fed_pixels(name: str, to: str, input: Input) -> Pixels:
    """The input of an encoder, if it is fed images.

    Raises:
        UsageError: it is not.
    """
    if isinstance(input, Pixels):
        return input
    raise UsageError(
        f"The family {name!r} makes views of images, but the encoder {to!r} is fed "
        f"{type(input).__name__}. Make it for an encoder of images."
    )


class CropMaker(OfWhole):
    """Makes the crops of one family: [V, S, S, C] uint8, and masks over the encoder's tokens.

    Attributes:
        crops: the plan, with the size of the views.
        channels: of every image.
    """

    def __init__(
        self, crops: Crops, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `Crops.maker`."""
        fed = fed_pixels(name, crops.to, input)
        self.crops = replace(crops, size=crops.size or fed.side)
        self.channels = fed.channels
        self._name, self._seed = name, seed
        side = self.crops.size
        fits_masks(name, crops.mask, side=side, fed=fed.side)
        self.layout = Layout(crops.count, (side, side, fed.channels), np.dtype(np.uint8))
        self._masks = Masks(crops.mask, name, grid, count=crops.count, seed=seed)
        self.cues: Mapping[str, Layout] = self._masks.cues
        self._engine: Engine | None = None

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S, S, C] with views of one image [H, W, C]."""
        if self._engine is None:
            plan = {self._name: self.crops}
            self._engine = Engine(plan, channels=self.channels, seed=self._seed)
        where = np.array([index], dtype=np.int64)
        self._engine(decoded, where, epoch, into={self._name: out[None]})
        return {name: cue[0] for name, cue in self.masks(where, epoch).items()}

    def masks(self, index: Ints, epoch: int) -> dict[str, NDArray[np.bool_]]:
        """{"mask": [B, V, N]} of a batch, or nothing."""
        return self._masks(index, epoch)
