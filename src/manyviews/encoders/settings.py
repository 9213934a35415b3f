"""Which encoder a run trains."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """An encoder by name, with what its shape depends on.

    Attributes:
        name: "resnet_small" (own small ResNet for images up to 64 px on a CPU), "vit" (own sizes
            given by patch, width, depth, heads; timm's ViT-Tiny/16 where they are 0) or any timm
            image model.
        image_size: side of the global views, in pixels.
        channels: input channels.
        stem: of ResNets: "small" is a 3x3 convolution of stride 1 without pooling. The
            "imagenet" stem of resnet_small is a 3x3 convolution of stride 2.
        patch: of ViTs; 0 keeps the model's own.
        width: of ViTs and resnet_small (first stage); 0 keeps the default.
        depth: blocks of a ViT, or of each stage of resnet_small; 0 keeps the default.
        heads: of ViTs; 0 keeps the default, or 64 channels a head where `width` is given.
        positions: of ViTs: a learned table, or MAE's fixed 2-D sine-cosine table, with which come
            MAE's initial weights (Xavier).
        pool: what `pooled` is in a ViT: the class token or the mean of the patch tokens, both
            after the final norm. Other encoders pool as timm does, nearly always by the mean.
        grid: of resnet_small: `pooled` keeps the means of grid x grid parts of the last map, side
            by side; 1 is the global mean.
        zero_init: of ResNets: each residual branch begins at zero (its last batch norm's scale).
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
    positions: Literal["learned", "sincos"] = "learned"
    pool: Literal["cls", "mean"] = "cls"
    grid: int = 1
    zero_init: bool = True
    drop_path: float = 0.0
