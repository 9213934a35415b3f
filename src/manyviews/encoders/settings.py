"""Which encoder a run trains: a class of settings for each kind, with what it is fed."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from manyviews.core.inputs import Frames, LogMel, Pixels
from manyviews.core.ranges import Count, NotNegative, Range, Several
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


HieraSize = Literal[
    "hiera_tiny", "hiera_small", "hiera_base", "hiera_base_plus", "hiera_large", "hiera_huge"
]
"""The authors' sizes, of 28 to 673 million parameters."""


@dataclass(frozen=True, kw_only=True)
class HieraConfig:
    """Hiera: stages of a transformer, within mask units first; the defaults are its tiny.

    Attributes:
        name: the authors' sizes.
        input: the images that it is fed; a side is a multiple of `patch` times 2^(stages - 1),
            the side of a mask unit.
        patch: pixels from one token of the first stage to the next.
        width: of the first stage's tokens; each further stage has twice as many. 0 keeps the
            size's own.
        heads: of the first stage, doubled likewise; 0 keeps the size's own.
        depths: blocks of each stage; () keeps the size's own.
        pools: stages that begin by halving rows and columns; the authors' MAE has one less than
            their classifier.
        fusion: the output is made of the ends of all stages, as the authors' decoder is fed.
        drop_path: stochastic depth rate.
    """

    name: HieraSize = "hiera_tiny"
    input: Pixels = field(default_factory=Pixels)
    patch: Count = 4
    width: Width = 0
    heads: Width = 0
    depths: tuple[Count, ...] = ()
    pools: Annotated[int, Range("from 0 to 8", 0, 8)] = 3
    fusion: bool = False
    drop_path: DropPath = 0.0


@dataclass(frozen=True, kw_only=True)
class HieraVideoConfig:
    """Hiera on clips: mask units are of two frames; the defaults are the authors' base.

    Attributes:
        input: the clips that it is fed.
        size: the authors' sizes.
        tubelet: frames from one token to the next.
        patch: pixels from one token of the first stage to the next.
        width: of the first stage's tokens; 0 keeps the size's own.
        heads: of the first stage; 0 keeps the size's own.
        depths: blocks of each stage; () keeps the size's own.
        pools: stages that begin by pooling.
        fusion: see `HieraConfig`.
        drop_path: stochastic depth rate.
    """

    input: Frames = field(default_factory=lambda: Frames(frames=16, rate=7.5))
    size: HieraSize = "hiera_base"
    tubelet: Count = 2
    patch: Count = 4
    width: Width = 0
    heads: Width = 0
    depths: tuple[Count, ...] = ()
    pools: Annotated[int, Range("from 0 to 8", 0, 8)] = 3
    fusion: bool = False
    drop_path: DropPath = 0.0

    @property
    def name(self) -> Literal["hiera_video"]:
        """As everywhere."""
        return "hiera_video"


@dataclass(frozen=True, kw_only=True)
class TubeletsConfig:
    """A vision transformer over tubelets of a clip; the defaults are VideoMAE's ViT-B.

    Attributes:
        input: the clips that it is fed; 16 frames, every fourth of 30 a second, is the authors'.
        tubelet: frames of a token.
        patch: side of a token in pixels.
        width: of a token.
        depth: blocks.
        heads: 0 for 64 channels a head.
        attention: over space and time at once, or over time and then over space in each block.
        positions: "row" is VideoMAE's fixed table, tokens numbered in a row; "grid" V-JEPA's fixed
            one, of time, row and column; "learned" MAE-ST's, a table of places and one of times.
        class_token: whether there is one, as in MAE-ST; `pooled` is the mean of the others.
    """

    input: Frames = field(default_factory=lambda: Frames(frames=16, rate=7.5))
    tubelet: Count = 2
    patch: Count = 16
    width: Count = 768
    depth: Count = 12
    heads: Depth = 0
    attention: Literal["joint", "divided"] = "joint"
    positions: Literal["row", "grid", "learned"] = "row"
    class_token: bool = False

    @property
    def name(self) -> str:
        """As everywhere."""
        return "tubelets"


@dataclass(frozen=True, kw_only=True)
class DVAEConfig:
    """A discrete auto-encoder's encoder: its tokens are scores of codes, one code a patch.

    Attributes:
        input: the images that it is fed.
        patch: side in pixels of what has a code; a power of two.
        width: channels.
        codes: K, how many there are.
    """

    input: Pixels = field(default_factory=Pixels)
    patch: Count = 8
    width: Count = 64
    codes: Several = 512

    @property
    def name(self) -> str:
        """As everywhere."""
        return "dvae"


@dataclass(frozen=True, kw_only=True)
class VQGANConfig:
    """A VQGAN's encoder: its tokens are scores of codes; the defaults are those that MAGE is fed.

    Attributes:
        input: the images that it is fed.
        patch: side in pixels of what has a code: 2, 4, 8 or 16.
        width: channels of the first stage, a multiple of 32.
        code: width of a code's vector.
        codes: K, how many there are.
    """

    input: Pixels = field(default_factory=lambda: Pixels(side=256, mean=(0.0,), std=(1.0,)))
    patch: Count = 16
    width: Count = 128
    code: Count = 256
    codes: Several = 1024

    @property
    def name(self) -> str:
        """As everywhere."""
        return "vqgan"


@dataclass(frozen=True, kw_only=True)
class CodedConfig:
    """A vision transformer that is fed the codes which a frozen tokenizer gives an image.

    Attributes:
        name: "coded" has the sizes below; "coded_base" and "coded_large" are ViT-B and ViT-L on
            the codes of a VQGAN, MAGE's.
        input: the images that it is fed.
        tokenizer: the kind of encoder that gives the codes.
        patch: side in pixels of what has a code; a power of two, and the tokenizer's.
        codes: K, how many there are; the tokenizer's.
        filters: the tokenizer's channels.
        width: of a token.
        depth: blocks.
        heads: 0 for 64 channels a head.
    """

    name: Literal["coded", "coded_base", "coded_large"] = "coded"
    input: Pixels = field(default_factory=Pixels)
    tokenizer: Literal["dvae", "vqgan"] = "dvae"
    patch: Count = 16
    codes: Several = 512
    filters: Count = 64
    width: Count = 192
    depth: Count = 12
    heads: Depth = 0


@dataclass(frozen=True, kw_only=True)
class RasterConfig:
    """A transformer over pixels as colours of a palette, row by row; the defaults are iGPT-S's.

    Attributes:
        input: the images that it is fed; each pixel is a token, so that they are small.
        colours: K, of the palette.
        width: of a token.
        depth: blocks.
        heads: 0 for 64 channels a head.
    """

    input: Pixels = field(default_factory=lambda: Pixels(side=32))
    colours: Several = 512
    width: Count = 512
    depth: Count = 24
    heads: Depth = 0

    @property
    def name(self) -> str:
        """As everywhere."""
        return "raster"


@dataclass(frozen=True, kw_only=True)
class AudioViTConfig:
    """A vision transformer over patches of time and mel bands; the defaults are Audio-MAE's ViT-B.

    Attributes:
        input: what it is fed; 10.24 s are 1,024 frames, and twice a deviation is Audio-MAE's.
        patch: frames and bands of a token.
        width: of a token.
        depth: blocks.
        heads: 0 for 64 channels a head.
    """

    input: LogMel = field(default_factory=lambda: LogMel(seconds=10.24, std=2 * LogMel().std))
    patch: Count = 16
    width: Count = 768
    depth: Count = 12
    heads: Depth = 0

    @property
    def name(self) -> str:
        """As everywhere."""
        return "audio_vit"


ImageConfig = (
    ResNetSmallConfig
    | ViTConfig
    | TimmConfig
    | HieraConfig
    | DVAEConfig
    | VQGANConfig
    | CodedConfig
    | RasterConfig
)
"""Settings of an encoder of images."""
