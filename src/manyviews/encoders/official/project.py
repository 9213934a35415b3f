"""What is written down of another project: where its files keep the encoder, and what it is fed."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from manyviews.core.inputs import IMAGENET_MEAN, IMAGENET_STD
from manyviews.encoders.resample import Interpolation

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
"""Mean and standard deviation per channel, of pixels in [0, 1]."""
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

Found = Mapping[str, Tensor]
"""All tensors of a file by their place: keys on the way joined by "/", then the tensor's name."""

Spelling = Callable[[str], tuple[str, ...]]
"""From our (timm's) name of a tensor to the file's: several are joined along the first axis."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """Facts about the checkpoints of one project.

    Attributes:
        title: for messages.
        source: repository, or repository and file, that the facts are from.
        recognise: whether a file is surely of this project.
        files: patterns of the names of its published files, for those that nothing else tells.
        places: beginnings of names under which it keeps the encoder that it evaluates, best first.
        spelling: how its names differ from timm's.
        heads: width of a ViT -> its heads, which shapes cannot show.
        interpolation: of position tables.
        class_token: standard deviation of the initial class token.
        side: of its images in pixels; 0 is that of the architecture.
        mean: per channel, of pixels in [0, 1]; () where its users choose.
        std: likewise.
        resize: how it resizes images for evaluation.
        same_padding: convolutions and pools pad as TensorFlow's "SAME", unevenly.
        small_stem_padding: of the 3x3 convolution that its ResNets for small images begin with.
    """

    title: str
    source: str
    recognise: Callable[[Found], bool]
    files: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    spelling: Spelling | None = None
    heads: Mapping[int, int] = field(default_factory=dict[int, int])
    interpolation: Interpolation = "timm"
    class_token: float = 0.02
    side: int = 0
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    resize: str = "bicubic"
    same_padding: bool = False
    small_stem_padding: int = 1


def has(found: Iterable[str], *patterns: str) -> bool:
    """Whether each pattern is somewhere in some name."""
    names = list(found)
    return all(any(re.search(pattern, name) for name in names) for pattern in patterns)


def respell(*rules: tuple[str, str]) -> Spelling:
    """A spelling by regular expressions, all applied in order."""

    def spelling(name: str) -> tuple[str, ...]:
        for pattern, new in rules:
            name = re.sub(pattern, new, name)
        return (name,)

    return spelling
