"""Which encoder a run trains."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """An encoder by name, with what its shape depends on.

    Attributes:
        name: "resnet_small" (own small ResNet for images up to 64 px on a CPU), "vit" (own sizes
            given by patch, width, depth, heads) or any timm image model.
        image_size: side of the global views, in pixels.
        channels: input channels.
        stem: of ResNets: "small" is a 3x3 convolution of stride 1 without pooling.
        patch: of ViTs; 0 keeps the model's own.
        width: of "vit" and "resnet_small" (first stage); 0 keeps the default.
        depth: of "vit"; 0 keeps the default.
        heads: of "vit"; 0 keeps the default.
        drop_path: stochastic depth rate.
    """

    name: str = "resnet18"
    image_size: int = 224
    channels: int = 3
    stem: Literal["imagenet", "small"] = "imagenet"
    patch: int = 0
    width: int = 0
    depth: int = 0
    heads: int = 0
    drop_path: float = 0.0
