"""Which encoder to begin with, when nobody has said."""

from dataclasses import dataclass, replace

from manyviews.core.inputs import Pixels
from manyviews.encoders.settings import ImageConfig, ResNetSmallConfig, TimmConfig, ViTConfig

SMALL = 64
"""Side in pixels up to which an image is small: it is trained at its own size."""

PATCH = 4
"""Of a ViT for small images, in pixels."""

GRID = 4
"""Of resnet_small: at 28 px its last map is 4x4, so nothing is averaged away."""


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
    input: Pixels, *, side: int, device: str, tokens: bool = False, masked: bool = False
) -> Chosen:
    """Choose an encoder that trains in reasonable time and suits the images.

    Args:
        input: channels, mean and deviation of the images; its side is chosen here.
        side: median of the images' shorter side, in pixels.
        device: "cpu" or "cuda".
        tokens: the method wants a ViT.
        masked: the ViT is to have MAE's positions, and its mean token for output.
    """
    case = _Case(input, side, device != "cpu")
    case = replace(case, input=replace(input, side=_size(case)))
    return _for_tokens(case, masked=masked) if tokens else _for_maps(case)


def _size(case: _Case) -> int:
    """View size: small images keep their own, rounded to a multiple of 4."""
    if case.small:
        return max(16, round(case.side / 4) * 4)
    if case.gpu:
        return 224
    return 64 if case.side < 128 else 96


def _for_maps(case: _Case) -> Chosen:
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
