"""Corrupted images as a family of views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from manyviews.core.inputs import Input
from manyviews.core.sample import Bytes, Layout, Maker, Window
from manyviews.evaluation.image.corruptions.catalog import check_corruption, corrupt
from manyviews.views.by_input import PLAIN


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """A family of one view: the plain view of each image, spoilt in its own way.

    Images are resized and cropped first and corrupted then, as in ImageNet-C: strengths are in
    pixels of what the encoder sees.

    Attributes:
        name: of the corruption.
        severity: 1 to 5.
        to: the encoder that it is made for.
        of: the stream.
        count: 1.
        around: nothing.
    """

    name: str
    severity: int
    to: str = "image"
    of: str = "image"
    count: int = 1
    around: str = ""

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> Maker:
        """What makes it.

        Raises:
            UsageError: no such corruption or severity, or the encoder is not fed images.
        """
        check_corruption(self.name, self.severity)
        plain = PLAIN[type(input)](to=self.to).maker(name, input, grid, seed=seed)
        return CorruptMaker(self, plain, seed=seed)


class CorruptMaker:
    """Makes corrupted views: [1, S, S, C] uint8."""

    cues: Mapping[str, Layout] = {}

    def __init__(self, corrupted: Corrupted, plain: Maker, *, seed: int) -> None:
        """Keep what makes the plain view, and what is done to it."""
        self._corrupted, self._plain, self._seed = corrupted, plain, seed
        self.layout = plain.layout

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """Those of the plain view."""
        return self._plain.windows(index, epoch, span, around)

    def __call__(
        self,
        decoded: Sequence[Bytes],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: Bytes,
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [1, S, S, C] with the spoilt view of one image [H, W, C]."""
        self._plain(decoded, windows, index, epoch, out, around)
        how = self._corrupted
        out[0] = corrupt(out[0], how.name, how.severity, seed=self._seed, index=index)
        return {}


def spread(length: int, count: int) -> range | list[int]:
    """`count` of `length` positions, evenly spread; all of them where count is 0 or larger."""
    if not 0 < count < length:
        return range(length)
    return [i * length // count for i in range(count)]
