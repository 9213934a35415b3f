"""Every kind of encoder by its name, and from settings to the encoder."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from manyviews.core import Encoder, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.settings import check
from manyviews.encoders.audio import AudioConv, AudioConvConfig
from manyviews.encoders.blocks import heads_for
from manyviews.encoders.choice import PATCH, SMALL
from manyviews.encoders.convolutions3d import C3D, S3DG, C3DConfig, S3DGConfig
from manyviews.encoders.dvae import DVAE
from manyviews.encoders.lab import Lab, LabConfig
from manyviews.encoders.points import PointNet, PointNetConfig
from manyviews.encoders.raster import Raster
from manyviews.encoders.resnet_small import ResNetSmall
from manyviews.encoders.settings import (
    AudioViTConfig,
    CodedConfig,
    DVAEConfig,
    HieraConfig,
    HieraVideoConfig,
    RasterConfig,
    ResNetSmallConfig,
    TimmConfig,
    TubeletsConfig,
    ViTConfig,
    VQGANConfig,
)
from manyviews.encoders.slow import Slow, SlowConfig
from manyviews.encoders.video import R2Plus1D, R2Plus1DConfig
from manyviews.encoders.voxels import Voxels, VoxelsConfig
from manyviews.encoders.vqgan import VQGAN

_MANY = "timm"
"""The kind whose settings name a model; the others are a model each, of the kind's name."""
_MANNERS = ("positions", "pool", "drop_path", "zero_init", "interpolation", "class_token")


@dataclass(frozen=True)
class Kind:
    """A kind of encoder.

    Attributes:
        config: the class of its settings; each has an `input`.
        build: settings -> the encoder, with random weights.
        models: names that its settings take, where they are of several models.
    """

    config: type[Any]
    build: Callable[[Any], Encoder]
    models: tuple[str, ...] = ()


def _timm(config: ViTConfig | TimmConfig) -> Encoder:
    import timm  # two seconds, which commands that build no encoder need not wait

    # A name with a colon or slash would make timm look on the network or on the disk.
    if config.name != "vit" and not (config.name.isidentifier() and timm.is_model(config.name)):
        raise _unknown(config.name)
    if isinstance(config, ViTConfig):
        _check_vit(config)

    from manyviews.encoders import timm_model

    return timm_model.build_timm(config)


def _tubelets(config: TubeletsConfig) -> Encoder:
    from manyviews.encoders.tubelets import Tubelets  # it imports timm

    return Tubelets(config)


def _lab(config: LabConfig) -> Encoder:
    fed = Pixels(side=config.input.side, channels=config.channels, mean=(0.5,), std=(0.5,))
    body = named(config.network, input=fed)
    if isinstance(body, ResNetSmallConfig):
        own = {"width": config.width or body.width, "grid": config.grid or body.grid}
        body = replace(body, stem=config.stem, zero_init=config.zero_init, **own)
    elif isinstance(body, TimmConfig):
        body = replace(body, stem=config.stem, zero_init=config.zero_init)
    return Lab(config, build(body))


def _hiera(config: Any) -> Encoder:
    from manyviews.encoders.hiera import Hiera  # it imports timm

    return Hiera(config)


def _audio_vit(config: AudioViTConfig) -> Encoder:
    from manyviews.encoders.audio_vit import AudioViT  # it imports timm

    return AudioViT(config)


def _coded(config: CodedConfig) -> Encoder:
    from manyviews.encoders.coded import Coded  # it imports timm

    return Coded(config)


KINDS: Mapping[str, Kind] = {
    "resnet_small": Kind(ResNetSmallConfig, ResNetSmall.of),
    "vit": Kind(ViTConfig, _timm),
    "timm": Kind(TimmConfig, _timm),
    "lab": Kind(LabConfig, _lab),
    "r2plus1d": Kind(R2Plus1DConfig, R2Plus1D),
    "slow": Kind(SlowConfig, Slow),
    "c3d": Kind(C3DConfig, C3D),
    "s3dg": Kind(S3DGConfig, S3DG),
    "tubelets": Kind(TubeletsConfig, _tubelets),
    "hiera": Kind(
        HieraConfig,
        _hiera,
        (
            "hiera_tiny",
            "hiera_small",
            "hiera_base",
            "hiera_base_plus",
            "hiera_large",
            "hiera_huge",
        ),
    ),
    "hiera_video": Kind(HieraVideoConfig, _hiera),
    "dvae": Kind(DVAEConfig, DVAE),
    "vqgan": Kind(VQGANConfig, VQGAN),
    "coded": Kind(CodedConfig, _coded, ("coded", "coded_base", "coded_large")),
    "raster": Kind(RasterConfig, Raster),
    "audio_conv": Kind(AudioConvConfig, AudioConv),
    "audio_vit": Kind(AudioViTConfig, _audio_vit),
    "pointnet": Kind(PointNetConfig, PointNet),
    "voxels": Kind(VoxelsConfig, Voxels),
}


def kinds() -> dict[str, str]:
    """The models of all kinds but timm's, with a line about each."""
    return {
        model: (inspect.getdoc(kind.config) or "").split("\n")[0]
        for name, kind in KINDS.items()
        if name != _MANY
        for model in kind.models or (name,)
    }


def names() -> list[str]:
    """All names of image encoders: ours, then timm's."""
    return [*(name for name in kinds() if sees_images(_own(name))), *timms()]


def _own(model: str) -> Any:
    """The settings of a model of a kind that is not timm's, with its own defaults."""
    if model in KINDS:
        return KINDS[model].config()
    return next(k.config(name=model) for k in KINDS.values() if model in k.models)


def timms() -> list[str]:
    """Names of timm's models, more than a thousand."""
    import timm  # two seconds, which commands that build no encoder need not wait

    return timm.list_models()


def sees_images(config: Any) -> bool:
    """Whether these are settings of an encoder that is fed images."""
    return isinstance(config.input, Pixels)


def build(config: object) -> Encoder:
    """Build an encoder with random weights, drawn from torch's global generator.

    Args:
        config: settings of one of the kinds.

    Raises:
        UsageError: settings of no kind, an unknown name, or sizes that do not fit it.
    """
    kind = KINDS[kind_of(config)]
    check(config, "encoder.")
    encoder = kind.build(config)
    encoder.input = config.input  # pyright: ignore[reportAttributeAccessIssue] - each has one
    return encoder


def kind_of(config: object) -> str:
    """The kind of an encoder's settings.

    Raises:
        UsageError: they are of none.
    """
    for name, kind in KINDS.items():
        if type(config) is kind.config:
            return name
    known = ", ".join(kind.config.__name__ for kind in KINDS.values())
    raise UsageError(f"{type(config).__name__} configures no encoder; use one of {known}.")


def named(name: str, *, input: Pixels) -> Any:
    """Settings of the image encoder of a name, with its own defaults.

    Args:
        name: a kind, as resnet_small or vit, or a model of timm's.
        input: what it is to be fed.

    Raises:
        UsageError: there is none of that name.
    """
    if name in kinds() and sees_images(_own(name)):
        return replace(_own(name), input=input)
    import timm  # two seconds, which commands that build no encoder need not wait

    if not (name.isidentifier() and timm.is_model(name)):
        raise _unknown(name)
    if timm.models.is_model_in_modules(name, ["vision_transformer"]):
        return ViTConfig(name=name, input=input)
    return TimmConfig(name=name, input=input)


def instead(config: Any, name: str) -> Any:
    """Settings of another image encoder, fed the same.

    Its sizes are its own; a "vit" of small images has patches that suit them. What is no size
    (positions, pool, stochastic depth, initial weights) stays where both are of one kind.
    """
    if name == config.name:
        return config
    new = named(name, input=config.input)
    if name == "vit" and new.input.side <= SMALL:
        new = replace(new, patch=PATCH)
    if type(new) is not type(config):
        return new
    kept = {field: getattr(config, field) for field in _MANNERS if hasattr(new, field)}
    if isinstance(config, TimmConfig):
        import timm

        if timm.models.is_model_in_modules(new.name, ["resnet"]):
            kept["stem"] = config.stem
    return replace(new, **kept)


def _unknown(name: str) -> UsageError:
    close = difflib.get_close_matches(name.partition(".")[0], names(), n=1)
    hint = f"Did you mean {close[0]}?" if close else "See `manyviews list encoders`."
    return UsageError(f"There is no encoder '{name}'. {hint}")


def _check_vit(config: ViTConfig) -> None:
    heads_for(config.width, config.heads)
    if config.patch and config.input.side % config.patch:
        raise UsageError(
            f"Images of {config.input.side} pixels cannot be cut into patches of {config.patch}. "
            "Change --encoder.input.side or --encoder.patch."
        )
