"""Every kind of encoder by its name, and from settings to the encoder."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from manyviews.core import Encoder, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.settings import check
from manyviews.encoders.audio import AudioConv, AudioConvConfig
from manyviews.encoders.choice import PATCH, SMALL
from manyviews.encoders.resnet_small import ResNetSmall
from manyviews.encoders.settings import ImageConfig, ResNetSmallConfig, TimmConfig, ViTConfig
from manyviews.encoders.video import R2Plus1D, R2Plus1DConfig

OWN = ("resnet_small", "vit")
_MANNERS = ("positions", "pool", "drop_path", "zero_init", "interpolation", "class_token")


@dataclass(frozen=True)
class Kind:
    """A kind of encoder.

    Attributes:
        config: the class of its settings; each has an `input`.
        build: settings -> the encoder, with random weights.
    """

    config: type[Any]
    build: Callable[[Any], Encoder]


def _timm(config: ViTConfig | TimmConfig) -> Encoder:
    import timm  # two seconds, which commands that build no encoder need not wait

    # A name with a colon or slash would make timm look on the network or on the disk.
    if config.name != "vit" and not (config.name.isidentifier() and timm.is_model(config.name)):
        raise _unknown(config.name)
    if isinstance(config, ViTConfig):
        _check_vit(config)

    from manyviews.encoders import timm_model

    return timm_model.build_timm(config)


KINDS: Mapping[str, Kind] = {
    "resnet_small": Kind(ResNetSmallConfig, ResNetSmall.of),
    "vit": Kind(ViTConfig, _timm),
    "timm": Kind(TimmConfig, _timm),
    "r2plus1d": Kind(R2Plus1DConfig, R2Plus1D),
    "audio_conv": Kind(AudioConvConfig, AudioConv),
}


def names() -> list[str]:
    """All names of image encoders: ours, then timm's (more than a thousand)."""
    import timm  # two seconds, which commands that build no encoder need not wait

    return [*OWN, *timm.list_models()]


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


def named(name: str, *, input: Pixels) -> ImageConfig:
    """Settings of the image encoder of a name, with its own defaults.

    Args:
        name: resnet_small, vit, or a model of timm's.
        input: what it is to be fed.

    Raises:
        UsageError: there is none of that name.
    """
    if name == "resnet_small":
        return ResNetSmallConfig(input=input)
    if name == "vit":
        return ViTConfig(input=input)
    import timm  # two seconds, which commands that build no encoder need not wait

    if not (name.isidentifier() and timm.is_model(name)):
        raise _unknown(name)
    if timm.models.is_model_in_modules(name, ["vision_transformer"]):
        return ViTConfig(name=name, input=input)
    return TimmConfig(name=name, input=input)


def instead(config: ImageConfig, name: str) -> ImageConfig:
    """Settings of another image encoder, fed the same.

    Its sizes are its own; a "vit" of small images has patches that suit them. What is no size
    (positions, pool, stochastic depth, initial weights) stays where both are of one kind.
    """
    if name == config.name:
        return config
    new = named(name, input=config.input)
    if name == "vit" and new.input.side <= SMALL:
        new = replace(cast("ViTConfig", new), patch=PATCH)
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
    heads = config.heads or max(1, config.width // 64)
    if config.width % heads:
        raise UsageError(
            f"An encoder width of {config.width} cannot be split over {heads} heads. "
            "Change --encoder.width or --encoder.heads."
        )
    if config.patch and config.input.side % config.patch:
        raise UsageError(
            f"Images of {config.input.side} pixels cannot be cut into patches of {config.patch}. "
            "Change --encoder.input.side or --encoder.patch."
        )
