"""Which encoder to begin with, when nobody has said."""

import math
from dataclasses import dataclass, replace

from manyviews.core.inputs import Pixels
from manyviews.core.passes import round_passes
from manyviews.encoders.settings import ImageConfig, ResNetSmallConfig, TimmConfig, ViTConfig

SMALL = 64
"""Side in pixels up to which an image is small: it is trained at its own size."""

PATCH = 4
"""Of a ViT for small images, in pixels."""

GRID = 4
"""Of resnet_small: at 28 px its last map is 4x4, so nothing is averaged away."""


QUICK = ResNetSmallConfig(input=Pixels(side=32), grid=GRID, zero_init=False)
"""What trains in time where a ResNet-18 does not: a tenth of the work."""

PASSES = 50
"""Over the data, that a training should make; with fewer the quick encoder is chosen."""

_RESNET18 = 1.81e9 / 224**2
"""Multiply-adds of its way forward by pixel, with the stem for ImageNet (timm's results)."""
_SMALL = 1.03e7 / 28**2
"""Of resnet_small with its usual sizes, counted by torch.utils.flop_counter."""


def multiply_adds(config: object) -> float:
    """Of one view on its way forward, about; 0 where that is not known."""
    if isinstance(config, ResNetSmallConfig) and config.stem == "imagenet":
        return _SMALL * config.input.side**2 * (config.width / 32) ** 2 * config.depth
    if isinstance(config, TimmConfig) and config.name == "resnet18":
        return _RESNET18 * config.input.side**2 * (16 if config.stem == "small" else 1)
    return 0.0


@dataclass(frozen=True)
class Time:
    """What a training has.

    Attributes:
        samples: of the data.
        seconds: that it may take.
        speed: multiply-adds a second of the machine in training.
    """

    samples: int
    seconds: float
    speed: float

    def passes(self, config: ImageConfig) -> float:
        """Passes over the data, with two views of each image; infinite where it is not known."""
        work = 2 * 3 * multiply_adds(config) * self.samples  # a step costs three ways forward
        return self.seconds * self.speed / work if work else math.inf


@dataclass(frozen=True)
class _Case:
    input: Pixels
    side: int
    gpu: bool

    @property
    def small(self) -> bool:
        return self.side <= SMALL


@dataclass(frozen=True)
class Chosen:
    """An encoder's settings, and one sentence that says why."""

    config: ImageConfig
    why: str


def choose(
    input: Pixels,
    *,
    side: int,
    device: str,
    tokens: bool = False,
    masked: bool = False,
    time: Time | None = None,
) -> Chosen:
    """Choose an encoder that trains in reasonable time and suits the images.

    Args:
        input: channels, mean and deviation of the images; its side is chosen here.
        side: median of the images' shorter side, in pixels.
        device: "cpu" or "cuda".
        tokens: the method wants a ViT.
        masked: the ViT is to have MAE's positions, and its mean token for output.
        time: that there is without a GPU; None where it does not matter.
    """
    case = _Case(input, side, device != "cpu")
    case = replace(case, input=replace(input, side=_size(case)))
    return _for_tokens(case, masked=masked) if tokens else _for_maps(case, time)


def _size(case: _Case) -> int:
    """View size: small images keep their own, rounded to a multiple of 4."""
    if case.small:
        return max(16, round(case.side / 4) * 4)
    if case.gpu:
        return 224
    return 64 if case.side < 128 else 96


def _for_maps(case: _Case, time: Time | None) -> Chosen:
    fed, size = case.input, case.input.side
    if case.small and not case.gpu:
        # On Fashion-MNIST, after a minute of SimCLR, keeping where things are is worth 2 to 4
        # points of kNN accuracy, and residual branches that do not begin at zero another 4.
        config = ResNetSmallConfig(input=fed, grid=GRID, zero_init=False)
        return Chosen(config, f"resnet_small at {size} px: small images and no GPU.")
    if case.small:
        config = TimmConfig(name="resnet18", input=fed, stem="small")
        return Chosen(config, f"resnet18 with the small stem at {size} px: small images, a GPU.")
    name = "resnet50" if case.gpu else "resnet18"
    machine = "a GPU" if case.gpu else "no GPU, so fewer pixels than the images have"
    config = TimmConfig(name=name, input=fed)
    if time is not None and not case.gpu and (passes := time.passes(config)) < PASSES:
        quick = replace(QUICK, input=replace(fed, side=QUICK.input.side))
        return Chosen(
            quick,
            f"{quick.name} at {quick.input.side} px: without a GPU {name} at {size} px would make "
            f"roughly {round_passes(passes)} passes over your {time.samples:,} images in "
            f"{time.seconds / 60:g} minutes, this one {round_passes(time.passes(quick))}. "
            f"With more time: --encoder.name {name} --encoder.image-size {size}.",
        )
    return Chosen(config, f"{name} at {size} px: images of about {case.side} px and {machine}.")


def _for_tokens(case: _Case, *, masked: bool) -> Chosen:
    fed, size = case.input, case.input.side
    positions, pool = ("sincos", "mean") if masked else ("learned", "cls")
    if case.gpu and not case.small:
        name = "vit_small_patch16_224"
        config = ViTConfig(name=name, input=fed, positions=positions, pool=pool)
        return Chosen(config, f"{name} at {size} px: a GPU, and a ViT for tokens.")
    patch = PATCH if case.small else 8
    depth = 12 if case.gpu else 6
    config = ViTConfig(
        input=fed, patch=patch, width=192, depth=depth, heads=3, positions=positions, pool=pool
    )
    machine = "small images" if case.gpu else "no GPU"
    why = f"a ViT of width 192, depth {depth} and patch {patch} at {size} px: {machine}."
    return Chosen(config, why)
