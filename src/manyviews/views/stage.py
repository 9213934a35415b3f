"""What a worker hands over when views are made on the device: images and draws, not views."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from manyviews.views.draw import GLOBAL, LOCAL, Draws, Floats, Ints, draw
from manyviews.views.engine import Bytes, Images, check
from manyviews.views.masks import masks
from manyviews.views.plain import resize
from manyviews.views.plan import Crops, Views

IMAGES = "images"
"""Under this name travel [M, H, W, C] uint8 sources, each at the top left of its canvas."""

DRAWS = "draws."
"""Before a family's name: [B, V, len(FIELDS)] float64."""

FIELDS = (*(field.name for field in fields(Draws)), "source")
"""What a row of draws holds: `Draws`, and which of the sources the view is cut from."""

CANVAS = 512
"""Pixels on the longer side up to which an image travels whole; of larger ones the crops do."""


class Stage:
    """Stands where an `Engine` does in the loader and leaves the pixels to `device.DeviceViews`.

    Draws the same parameters as the `Engine` of the same plan and seed. An image of up to `canvas`
    pixels travels once, whole; of a larger one each view's crop does, resized as the `Engine`
    resizes it, so that what travels has a bound.

    Attributes:
        views: the plan.
        channels: of every image.
        seed: of the run.
        canvas: pixels; see `CANVAS`.
    """

    def __init__(self, views: Views, *, channels: int, seed: int, canvas: int = CANVAS) -> None:
        """Check the plan.

        Raises:
            UsageError: a number of the plan is out of its range.
        """
        check(views)
        self.views = views
        self.channels = channels
        self.seed = seed
        self.canvas = canvas

    def __call__(
        self, images: Images, index: Ints, epoch: int
    ) -> tuple[dict[str, Bytes], Mapping[str, NDArray[np.bool_] | Floats]]:
        """Draw for a batch; arguments as of `Engine`.

        Returns:
            {"images": [M, H, W, C] uint8}; and "draws.global", "draws.local" [B, V, F] float64 of
            the families with views, with the cues of `Engine`.
        """
        sides = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
        whole = sides.max(axis=1) <= self.canvas
        sources: list[Bytes] = [images[row] for row in np.flatnonzero(whole).tolist()]
        places = np.cumsum(whole) - 1
        cues: dict[str, NDArray[np.bool_] | Floats] = {}
        families = (("global", GLOBAL, self.views.global_), ("local", LOCAL, self.views.local))
        for name, family, crops in families:
            if not crops.count:
                continue
            draws = draw(
                crops,
                seed=self.seed,
                epoch=epoch,
                index=index,
                heights=sides[:, 0],
                widths=sides[:, 1],
                family=family,
            )
            rows = np.stack([getattr(draws, field) for field in FIELDS[:-1]], axis=-1)
            packed = np.concatenate([rows, _repeated(places, crops.count)], axis=-1, dtype=float)
            for row in np.flatnonzero(~whole).tolist():
                _cut(packed[row], images[row], crops, sources)
            cues[DRAWS + name] = packed
        canvases = images if whole.all() and isinstance(images, np.ndarray) else _stacked(sources)
        return {IMAGES: canvases}, cues | self._cues(index, epoch)

    def _cues(self, index: Ints, epoch: int) -> dict[str, NDArray[np.bool_]]:
        mask, crops = self.views.mask, self.views.global_
        if not mask.ratio:
            return {}
        patches = (crops.size // mask.patch) ** 2
        made = masks(
            seed=self.seed,
            epoch=epoch,
            index=index,
            count=crops.count,
            patches=patches,
            ratio=mask.ratio,
        )
        return {"mask": made}


def _repeated(places: Ints, count: int) -> Ints:
    """[B] -> [B, count, 1]."""
    return np.repeat(places[:, None, None], count, axis=1)


def _cut(draws: Floats, image: Bytes, crops: Crops, sources: list[Bytes]) -> None:
    """Add the crop of each view to the sources and let its draws [V, F] speak of that."""
    top, left, height, width = (FIELDS.index(name) for name in ("top", "left", "height", "width"))
    for view in draws:
        y, x, tall, wide = (int(view[field]) for field in (top, left, height, width))
        crop = image[y : y + tall, x : x + wide]
        size, how = crops.size, crops.interpolation
        view[[top, left, height, width]] = (0, 0, size, size)
        view[FIELDS.index("source")] = len(sources)
        sources.append(resize(crop, height=size, width=size, interpolation=how))


def _stacked(sources: Sequence[Bytes]) -> Bytes:
    """[M, H, W, C] of images of several sizes: zeros where there is none, which no crop sees."""
    height, width = np.max([source.shape[:2] for source in sources], axis=0)
    out = np.zeros((len(sources), height, width, sources[0].shape[-1]), dtype=np.uint8)
    for canvas, source in zip(out, sources, strict=True):
        canvas[: source.shape[0], : source.shape[1]] = source
    return out
