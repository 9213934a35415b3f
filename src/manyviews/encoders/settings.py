"""Which encoder a run trains: a class of settings for each kind, with what it is fed."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from manyviews.core.inputs import Pixels
from manyviews.core.ranges import Count, NotNegative, Range
from manyviews.encoders.resample import Interpolation

Stem = Literal["imagenet", "small"]
Width = Annotated[int, Range("from 0 to 16384", 0, 16384)]
Depth = Annotated[int, Range("from 0 to 1024", 0, 1024)]
DropPath = Annotated[float, Range("from 0 to 0.99", 0, 0.99)]


@dataclass(frozen=True, kw_only=True)
class ResNetSmallConfig:
    """Own small ResNet for images up to 64 px on a CPU.

    Attributes:
        input: the images that it is fed.
        stem: "small" is a 3x3 convolution of stride 1, "imagenet" one of stride 2.
        width: channels of the first stage.
        depth: blocks of each stage.
        grid: `pooled` keeps the means of grid x grid parts of the last map, side by side; 1 is the
            global mean.
        zero_init: each residual branch begins at zero (its last batch norm's scale).
    """

    input: Pixels = field(default_factory=Pixels)
    stem: Stem = "imagenet"
    width: Count = 32
    depth: Count = 1
    grid: Annotated[int, Range("from 1 to 16", 1, 16)] = 1
    zero_init: bool = True

    @property
    def name(self) -> str:
        """As everywhere."""
        return "resnet_small"


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """A vision transformer, of timm's modules.

    Attributes:
        name: "vit" (own sizes; timm's ViT-Tiny/16 where they are 0) or one of timm's.
        input: the images that it is fed.
        patch: side of a patch in pixels; 0 keeps the model's own.
        width: of a token; 0 keeps the model's own.
        depth: blocks; 0 keeps the model's own.
        heads: 0 keeps the model's own, or 64 channels a head where `width` is given.
        positions: a learned table, or MAE's fixed 2-D sine-cosine table, with which come MAE's
            initial weights (Xavier).
        pool: what `pooled` is: the class token or the mean of the patch tokens, both after the
            final norm.
        drop_path: stochastic depth rate.
        interpolation: how learned positions are brought to views of other sizes; weights want the
            rule that they were trained with (`encoders.resample`).
        class_token: deviation of the initial class token; 0 keeps timm's, 1e-6.
    """

    name: str = "vit"
    input: Pixels = field(default_factory=Pixels)
    patch: Depth = 0
    width: Width = 0
    depth: Depth = 0
    heads: Depth = 0
    positions: Literal["learned", "sincos"] = "learned"
    pool: Literal["cls", "mean"] = "cls"
    drop_path: DropPath = 0.0
    interpolation: Interpolation = "timm"
    class_token: NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class TimmConfig:
    """Any other image model of timm's. It pools as timm does, nearly always by the mean.

    Attributes:
        name: timm's.
        input: the images that it is fed.
        stem: of ResNets: "small" is a 3x3 convolution of stride 1 without pooling.
        zero_init: of ResNets: each residual branch begins at zero (its last batch norm's scale).
        drop_path: stochastic depth rate.
        variant: what other projects' weights want of the network that timm has no argument for:
            "same-padding" pads as TensorFlow's SAME does (BYOL), "wide-stem" pads the small stem by
            2 (solo-learn), "norm-first" norms every token before they are averaged (BEiT).
    """

    name: str = "resnet18"
    input: Pixels = field(default_factory=Pixels)
    stem: Stem = "imagenet"
    zero_init: bool = True
    drop_path: DropPath = 0.0
    variant: Literal["timm", "same-padding", "wide-stem", "norm-first"] = "timm"


ImageConfig = ResNetSmallConfig | ViTConfig | TimmConfig
"""Settings of an encoder of images."""
