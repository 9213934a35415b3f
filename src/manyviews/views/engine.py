"""A batch of images becomes its views and cues."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.views.draw import GLOBAL, LOCAL, Ints, draw
from manyviews.views.large import make_large
from manyviews.views.masks import masks
from manyviews.views.plan import Crops, Views
from manyviews.views.small import Small

Bytes = NDArray[np.uint8]
Images = Sequence[Bytes] | Bytes

SMALL = 96
"""Images up to this many pixels on their longer side are made in one batch."""

_SMALL_VIEW = 128
"""Larger views than this are made one at a time: dense resampling grows with the cube."""


class Engine:
    """Makes the views of a run; the same pixels in any batch, process and number of threads.

    Attributes:
        views: the plan.
        channels: of every image.
        seed: of the run; with epoch and index it decides every view.
    """

    def __init__(self, views: Views, *, channels: int, seed: int) -> None:
        """Check the plan.

        Raises:
            UsageError: a number of the plan is out of its range, or there are no channels.
        """
        check(views)
        if channels < 1:
            message = f"--data.channels is {channels}; wanted 1 or more."
            raise UsageError(message)
        self.views = views
        self.channels = channels
        self.seed = seed
        plans = {"global": (GLOBAL, views.global_), "local": (LOCAL, views.local)}
        self._families = {
            name: (family, Small(crops, channels=channels))
            for name, (family, crops) in plans.items()
            if crops.count
        }

    def __call__(
        self, images: Images, index: Ints, epoch: int
    ) -> tuple[dict[str, Bytes], dict[str, NDArray[np.bool_]]]:
        """Make the views of a batch.

        Args:
            images: B images [H, W, C] uint8, of any sizes, or one array [B, H, W, C].
            index: [B] int64, their positions in the data set.
            epoch: counted from 0.

        Returns:
            name -> [B, V, S, S, C] uint8, for families with at least one view; and
            name -> cue: "mask" [B, V, N] bool, True = hidden, when the plan has masks.
        """
        made = {
            name: self._family(images, index, epoch, family, small)
            for name, (family, small) in self._families.items()
        }
        return made, self._cues(index, epoch)

    def _family(
        self, images: Images, index: Ints, epoch: int, family: int, make_small: Small
    ) -> Bytes:
        crops = make_small.crops
        sides = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
        draws = draw(
            crops,
            seed=self.seed,
            epoch=epoch,
            index=index,
            heights=sides[:, 0],
            widths=sides[:, 1],
            family=family,
        )
        small = (sides.max(axis=1, initial=0) <= SMALL) & (crops.size <= _SMALL_VIEW)
        if small.all():
            return make_small(_stack(images, sides), draws)
        shape = (len(images), crops.count, crops.size, crops.size, self.channels)
        out = np.empty(shape, dtype=np.uint8)
        rows = np.flatnonzero(small)
        if len(rows):
            stack = _stack([images[row] for row in rows.tolist()], sides[rows])
            out[rows] = make_small(stack, draws.take(rows))
        for row in np.flatnonzero(~small).tolist():
            for view in range(crops.count):
                out[row, view] = make_large(images[row], draws.one(row, view), crops)
        return out

    def _cues(self, index: Ints, epoch: int) -> dict[str, NDArray[np.bool_]]:
        mask, crops = self.views.mask, self.views.global_
        if not mask.ratio:
            return {}
        made = masks(
            seed=self.seed,
            epoch=epoch,
            index=index,
            count=crops.count,
            patches=(crops.size // mask.patch) ** 2,
            ratio=mask.ratio,
        )
        return {"mask": made}


def check(views: Views) -> None:
    """Refuse a plan whose numbers are out of range.

    Raises:
        UsageError: names the flag, the value and what was wanted.
    """
    for name, crops in (("global", views.global_), ("local", views.local)):
        _check_crops(name, crops)
    mask, size = views.mask, views.global_.size
    _want(0 <= mask.ratio < 1, "mask.ratio", mask.ratio, "at least 0 and below 1")
    if mask.ratio:
        whole = mask.patch > 0 and size % mask.patch == 0
        _want(whole, "mask.patch", mask.patch, f"a divisor of --views.global.size {size}")


def _check_crops(name: str, crops: Crops) -> None:
    _want(crops.count >= 0, f"{name}.count", crops.count, "0 or more")
    _want(crops.size >= 2, f"{name}.size", crops.size, "2 or more pixels")
    area, ratio, sigma = crops.scale, crops.ratio, crops.sigma
    _want(0 < area[0] <= area[1] <= 1, f"{name}.scale", area, "shares with 0 < low <= high <= 1")
    _want(0 < ratio[0] <= ratio[1], f"{name}.ratio", ratio, "numbers with 0 < low <= high")
    _want(0 < sigma[0] <= sigma[1], f"{name}.sigma", sigma, "pixels with 0 < low <= high")
    _want(0 <= crops.hue <= 0.5, f"{name}.hue", crops.hue, "a share of a turn from 0 to 0.5")
    for part in ("brightness", "contrast", "saturation"):
        _want(getattr(crops, part) >= 0, f"{name}.{part}", getattr(crops, part), "0 or more")
    for part in ("flip", "jitter", "grey"):
        value = getattr(crops, part)
        _want(0 <= value <= 1, f"{name}.{part}", value, "a probability from 0 to 1")
    for part, values in (("blur", crops.blur), ("solarize", crops.solarize)):
        right = len(values) in (1, crops.count) or not crops.count
        _want(
            right and all(0 <= value <= 1 for value in values),
            f"{name}.{part}",
            values,
            f"one probability from 0 to 1, or {crops.count} of them, one per view",
        )


def _want(holds: bool, name: str, value: object, wanted: str) -> None:  # noqa: FBT001 (reads as an assertion)
    if not holds:
        message = f"--views.{name} is {value}; wanted {wanted}."
        raise UsageError(message)


def _stack(images: Images, sides: Ints) -> Bytes:
    """[B, H, W, C]: images at the top left of equal canvases; crops never see the rest."""
    if isinstance(images, np.ndarray):
        return images
    height, width = sides.max(axis=0)
    out = np.zeros((len(images), height, width, images[0].shape[-1]), dtype=np.uint8)
    for canvas, image in zip(out, images, strict=True):
        canvas[: image.shape[0], : image.shape[1]] = image
    return out
