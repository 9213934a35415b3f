"""All corruptions by name, and how strong each severity is."""

import difflib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyviews.core import UsageError
from manyviews.core.sample import Bytes, Floats
from manyviews.evaluation.image.corruptions import blur, digital, noise, weather

PHOTOGRAPH = 96
"""From this shorter side on, severities are those of ImageNet-C; below, of CIFAR-10-C."""

SMALLEST = 16
"""Images with a shorter side are refused."""

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One way to spoil an image.

    Attributes:
        make: (levels [H, W, C] float64 in [0, 1], random numbers, strength...) -> the same.
        photograph: its strength at each severity for shorter sides of 96 pixels and more.
        thumbnail: likewise for smaller images.
    """

    make: Callable[..., Floats]
    photograph: tuple[tuple[Any, ...], ...]
    thumbnail: tuple[tuple[Any, ...], ...]

    def __call__(self, image: Bytes, severity: int, rng: np.random.Generator) -> Bytes:
        """[H, W, C] uint8, spoilt; levels are rounded to the nearest.

        Args:
            image: [H, W, C] uint8, C = 1 or 3.
            severity: 1 to 5.
            rng: decides all that is random.
        """
        strengths = self.photograph if min(image.shape[:2]) >= PHOTOGRAPH else self.thumbnail
        made = self.make(image.astype(np.float64) / 255, rng, *strengths[severity - 1])
        return np.rint(made.clip(0, 1) * 255).astype(np.uint8)


def _each(*values: Any) -> tuple[tuple[Any], ...]:
    return tuple((value,) for value in values)


_ELASTIC = 244 / 224  # the authors say that they meant 1

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(
        noise.gaussian_noise,
        _each(0.08, 0.12, 0.18, 0.26, 0.38),
        _each(0.04, 0.06, 0.08, 0.09, 0.1),
    ),
    "shot_noise": Corruption(
        noise.shot_noise, _each(60, 25, 12, 5, 3), _each(500, 250, 100, 75, 50)
    ),
    "impulse_noise": Corruption(
        noise.impulse_noise,
        _each(0.03, 0.06, 0.09, 0.17, 0.27),
        _each(0.01, 0.02, 0.03, 0.05, 0.07),
    ),
    "defocus_blur": Corruption(
        blur.defocus_blur,
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    ),
    "glass_blur": Corruption(
        blur.glass_blur,
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ),
    "motion_blur": Corruption(
        blur.motion_blur,
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    ),
    "zoom_blur": Corruption(
        blur.zoom_blur,
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    ),
    "snow": Corruption(
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "procedural_frost": Corruption(
        weather.procedural_frost,
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    ),
    "fog": Corruption(
        weather.fog,
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    ),
    "brightness": Corruption(
        weather.brightness, _each(0.1, 0.2, 0.3, 0.4, 0.5), _each(0.05, 0.1, 0.15, 0.2, 0.3)
    ),
    "contrast": Corruption(
        digital.contrast, _each(0.4, 0.3, 0.2, 0.1, 0.05), _each(0.75, 0.5, 0.4, 0.3, 0.15)
    ),
    "elastic_transform": Corruption(
        digital.elastic_transform,
        (
            (2 * _ELASTIC, 0.7 * _ELASTIC, 0.1 * _ELASTIC),
            (2 * _ELASTIC, 0.08 * _ELASTIC, 0.2 * _ELASTIC),
            (0.05 * _ELASTIC, 0.01 * _ELASTIC, 0.02 * _ELASTIC),
            (0.07 * _ELASTIC, 0.01 * _ELASTIC, 0.02 * _ELASTIC),
            (0.12 * _ELASTIC, 0.01 * _ELASTIC, 0.02 * _ELASTIC),
        ),
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": Corruption(
        digital.pixelate, _each(0.6, 0.5, 0.4, 0.3, 0.25), _each(0.95, 0.9, 0.85, 0.75, 0.65)
    ),
    "jpeg_compression": Corruption(
        digital.jpeg_compression, _each(25, 18, 15, 10, 7), _each(80, 65, 58, 50, 40)
    ),
}
"""Kinds and strengths of Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to
common corruptions and perturbations", section 4.1 and appendix A, in the numbers of
hendrycks/robustness (ImageNet-C/create_c, make_imagenet_c.py and make_cifar_c.py).

Strengths in pixels stay as they are for images of other sizes than 224 and 32: the same severity
spoils a smaller image more. Frost is another than theirs (see `weather.procedural_frost`). Theirs
cut levels down to whole numbers and store ImageNet-C as JPEG again; here levels are rounded."""


def corrupt(image: Bytes, name: str, severity: int, *, seed: int, index: int = 0) -> Bytes:
    """One image spoilt: a pure function of the arguments.

    Args:
        image: [H, W, C] uint8, C = 1 or 3, sides of 16 pixels or more.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: of all that is random, 0 or more.
        index: position of the image in its data set, so that each has its own noise.

    Returns:
        [H, W, C] uint8.

    Raises:
        UsageError: no such corruption or severity, or another kind of array.
    """
    check_corruption(name, severity)
    good = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (1, 3)
    if not good or min(image.shape[:2]) < SMALLEST:
        raise UsageError(
            f"An array of {image.dtype} {list(image.shape)} cannot be corrupted; wanted uint8 "
            f"[H, W, C] with 1 or 3 channels and sides of {SMALLEST} pixels or more."
        )
    rng = np.random.default_rng([seed, index, zlib.crc32(name.encode()), severity])
    return CORRUPTIONS[name](image, severity, rng)


def check_corruption(name: str, severity: int) -> None:
    """Refuse what is not there.

    Raises:
        UsageError: no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        close = [known for known in CORRUPTIONS if name and name in known]
        close = close or difflib.get_close_matches(name, CORRUPTIONS, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"There are {', '.join(CORRUPTIONS)}."
        raise UsageError(f"There is no corruption {name!r}. {hint}")
    if severity not in SEVERITIES:
        raise UsageError(f"There is no severity {severity} of {name}. Use 1, 2, 3, 4 or 5.")
