"""What `evaluate` measures of the places in an image: patch features, beside what costs nothing."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core.progress import bar
from manyviews.evaluation.dense.masked import MaskedImages, open_masked
from manyviews.evaluation.dense.segmentation import DensePart, segmentation
from manyviews.evaluation.dense.settings import Segmentation
from manyviews.evaluation.features import Cache, Embed, cached, extract, fingerprint, said
from manyviews.evaluation.result import Beside
from manyviews.runs.assemble import readers
from manyviews.runs.embedder import Embedder
from manyviews.runs.subject import untrained
from manyviews.views.by_input import plain_of

_CELL = 4
"""Raw pixels are compared as so many numbers along each side of a patch."""


@dataclass(frozen=True, kw_only=True)
class DenseTask:
    """What is asked of a protocol on places, besides its own settings.

    Attributes:
        data: what is tested on, and learnt from where there is no other.
        train_data: what is learnt from instead; "" for `data`.
        max_pixels: larger images are refused.
        cache: of features.
        batch_size: images at a time.
        baselines: whether to measure what no training touched, too.
        device: where to compute.
    """

    data: str
    train_data: str = ""
    max_pixels: int
    cache: Cache
    batch_size: int
    baselines: bool
    device: torch.device


def masked_parts(subject: Embedder, asked: DenseTask) -> list[MaskedImages]:
    """Both parts of images with masks. Raises UsageError as `open_masked`."""
    channels, most = subject.pixels.channels, asked.max_pixels
    learnt = asked.train_data or asked.data
    return [
        open_masked(learnt, channels=channels, max_pixels=most, split="train"),
        open_masked(asked.data, channels=channels, max_pixels=most, split="test"),
    ]


def segmented(
    subject: Embedder, parts: Sequence[MaskedImages], asked: DenseTask, settings: Segmentation
) -> Beside:
    """The protocol on the encoder's patch features, and on those of what no training touched."""
    input = subject.pixels
    height, width = subject.encoder.grid

    @functools.cache
    def masks(part: MaskedImages, index: tuple[int, ...]) -> Tensor:
        return part.classes(input, index, ignore=settings.ignore)

    def seen(embed: Embed, key: str) -> list[DensePart]:
        found: list[DensePart] = []
        for part in parts:
            with bar("embedding") as progress:
                got = cached(
                    asked.cache.directory,
                    encoder=key,
                    source=part.source.digest,
                    transform=said(input),
                    compute=lambda part=part, progress=progress: extract(
                        embed,
                        part.source,
                        plain_of(input),
                        batch_size=asked.batch_size,
                        device=asked.device,
                        progress=progress,
                        workers=readers(part.source),
                        warn=asked.cache.warn,
                    ),
                    warn=asked.cache.warn,
                )
            found.append(DensePart(got.features, masks(part, tuple(got.index.tolist()))))
        return found

    def of(network: Embedder) -> tuple[Embed, str]:
        key = f"{fingerprint(network)} {network.config} patches fp32"
        return network.tokens, key

    sides = {"": of(subject)}
    if asked.baselines:
        sides["raw pixels"] = raw_places(height, width)
        sides["untrained encoder"] = of(untrained(subject).to(asked.device))
    results = {
        title: segmentation(
            *seen(embed, key), grid=(height, width), settings=settings, names=parts[0].names
        )
        for title, (embed, key) in sides.items()
    }
    mine = results.pop("")
    if parts[1].split == "hashed":
        mine = replace(mine, notes=(*mine.notes, "split by the hash of paths, 80 to 20"))
    return Beside(result=mine, beside=results)


def raw_places(height: int, width: int) -> tuple[Embed, str]:
    """Means of 4 x 4 parts of each place's pixels as its features, and what they are called."""

    def pixels(x: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(x, (height * _CELL, width * _CELL))
        return F.unfold(small, _CELL, stride=_CELL).transpose(1, 2)

    return pixels, f"pixels {height}x{width}x{_CELL}"
