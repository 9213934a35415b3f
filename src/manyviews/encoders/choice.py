"""Which encoder to begin with, when nobody has said."""

from dataclasses import dataclass

from manyviews.encoders.settings import EncoderConfig

SMALL = 64
"""Side in pixels up to which an image is small: it is trained at its own size."""

GRID = 4
"""Of resnet_small: at 28 px its last map is 4x4, so nothing is averaged away."""

TOKEN_METHODS = ("mae", "dino")


def choose(side: int, channels: int, device: str, method: str) -> tuple[EncoderConfig, str]:
    """Choose an encoder that trains in reasonable time and suits the images.

    Args:
        side: median of the images' shorter side, in pixels.
        channels: of the images.
        device: "cpu" or "cuda".
        method: name of the method; "mae" needs a ViT.

    Returns:
        The configuration, with the view size in `image_size`, and one sentence that says why.
    """
    pick = _for_tokens if method in TOKEN_METHODS else _for_maps
    picked = pick(_Case(side, channels, device != "cpu", method))
    return picked.config, picked.why


@dataclass(frozen=True)
class _Case:
    side: int
    channels: int
    gpu: bool
    method: str

    @property
    def small(self) -> bool:
        return self.side <= SMALL

    @property
    def size(self) -> int:
        """View size: small images keep their own, rounded to a multiple of 4."""
        if self.small:
            return max(16, round(self.side / 4) * 4)
        if self.gpu:
            return 224
        return 64 if self.side < 128 else 96


@dataclass(frozen=True)
class _Picked:
    config: EncoderConfig
    why: str


def _for_maps(case: _Case) -> _Picked:
    size, channels = case.size, case.channels
    if case.small and not case.gpu:
        # On Fashion-MNIST, after a minute of SimCLR, keeping where things are is worth 2 to 4
        # points of kNN accuracy, and residual branches that do not begin at zero another 4.
        config = EncoderConfig(
            name="resnet_small", image_size=size, channels=channels, grid=GRID, zero_init=False
        )
        return _Picked(config, f"resnet_small at {size} px: small images and no GPU.")
    if case.small:
        config = EncoderConfig(name="resnet18", image_size=size, channels=channels, stem="small")
        return _Picked(config, f"resnet18 with the small stem at {size} px: small images, a GPU.")
    name = "resnet50" if case.gpu else "resnet18"
    machine = "a GPU" if case.gpu else "no GPU, so fewer pixels than the images have"
    config = EncoderConfig(name=name, image_size=size, channels=channels)
    return _Picked(config, f"{name} at {size} px: images of about {case.side} px and {machine}.")


def _for_tokens(case: _Case) -> _Picked:
    if case.method == "dino" and not case.gpu:
        return _for_maps(case)
    size, channels = case.size, case.channels
    mae = case.method == "mae"
    positions, pool = ("sincos", "mean") if mae else ("learned", "cls")
    if case.gpu and not case.small:
        config = EncoderConfig(
            name="vit_small_patch16_224",
            image_size=size,
            channels=channels,
            positions=positions,
            pool=pool,
        )
        return _Picked(config, f"vit_small_patch16_224 at {size} px: a GPU, and a ViT for tokens.")
    patch = 4 if case.small else 8
    depth = 12 if case.gpu else 6
    config = EncoderConfig(
        name="vit",
        image_size=size,
        channels=channels,
        patch=patch,
        width=192,
        depth=depth,
        heads=3,
        positions=positions,
        pool=pool,
    )
    machine = "small images" if case.gpu else "no GPU"
    return _Picked(
        config, f"a ViT of width 192, depth {depth} and patch {patch} at {size} px: {machine}."
    )
