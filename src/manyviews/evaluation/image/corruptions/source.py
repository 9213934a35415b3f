"""A data set whose images are corrupted, for `extract`."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.data.sources import ImageSource
from manyviews.evaluation.image.corruptions.catalog import check, corrupt
from manyviews.views.image.plain import Plain

Bytes = NDArray[np.uint8]


class Corrupted:
    """Some images of a source as the encoder would see them, each spoilt in its own way.

    They are resized and cropped first and corrupted then, as in ImageNet-C: strengths are in
    pixels of what the encoder sees. Nothing is left to do but `prepare`.

    Attributes:
        name: of the corruption.
        severity: 1 to 5.
    """

    def __init__(
        self,
        source: ImageSource,
        plain: Plain,
        name: str,
        severity: int,
        *,
        seed: int,
        count: int = 0,
    ) -> None:
        """Read nothing yet.

        Args:
            source: the clean images.
            plain: the view that the encoder sees.
            name: of the corruption.
            severity: 1 to 5.
            seed: of all that is random.
            count: take this many, evenly spread; 0 for all.

        Raises:
            UsageError: no such corruption or severity.
        """
        check(name, severity)
        self.source, self.plain, self.seed = source, plain, seed
        self.name, self.severity = name, severity
        self.rows = spread(len(source), count)

    @property
    def digest(self) -> str:
        """Changes with the images and with what is done to them."""
        parts = (self.source.digest, self.name, self.severity, self.seed, len(self.rows))
        return hashlib.sha256(repr(("corrupted 1", *parts)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, i: int, /) -> Bytes:
        """[S, S, C] uint8. Raises `Unreadable`."""
        row = self.rows[i]
        image = self.plain.uint8([self.source.read(row)])[0]
        return corrupt(image, self.name, self.severity, seed=self.seed, index=row)

    def prepare(self, images: Sequence[Bytes]) -> Tensor:
        """[B, C, S, S] float32, normalised, of what `read` gave."""
        return self.plain.input.finish(torch.from_numpy(np.stack(images)))


def spread(length: int, count: int) -> range | list[int]:
    """`count` of `length` positions, evenly spread; all of them where count is 0 or larger."""
    if not 0 < count < length:
        return range(length)
    return [i * length // count for i in range(count)]
