"""From an encoder's name and sizes to the encoder."""

import difflib

from manyviews.core import Encoder, UsageError
from manyviews.encoders.resnet_small import ResNetSmall
from manyviews.encoders.settings import EncoderConfig

OWN = ("resnet_small", "vit")


def names() -> list[str]:
    """All encoder names: ours, then timm's (more than a thousand)."""
    # Importing timm takes two seconds; commands that build no encoder need not wait.
    import timm

    return [*OWN, *timm.list_models()]


def build(config: EncoderConfig) -> Encoder:
    """Build an encoder with random weights, drawn from torch's global generator.

    Raises:
        UsageError: an unknown name, or sizes that do not fit it.
    """
    _check_numbers(config)
    if config.name == "resnet_small":
        return _resnet_small(config)
    _refuse(config, "grid")
    import timm

    # A name with a colon or slash would make timm look on the network or on the disk.
    if config.name != "vit" and not (config.name.isidentifier() and timm.is_model(config.name)):
        close = difflib.get_close_matches(config.name.partition(".")[0], names(), n=1)
        hint = f"Did you mean {close[0]}?" if close else "See `manyviews list encoders`."
        raise UsageError(f"There is no encoder '{config.name}'. {hint}")
    if config.name == "vit" or timm.models.is_model_in_modules(config.name, ["vision_transformer"]):
        _check_vit(config)
    else:
        _refuse(config, "patch", "width", "depth", "heads", "positions")

    from manyviews.encoders import timm_model

    return timm_model.build(config)


def _resnet_small(config: EncoderConfig) -> Encoder:
    _refuse(config, "patch", "heads", "positions", "drop_path")
    return ResNetSmall(
        image_size=config.image_size,
        channels=config.channels,
        width=config.width or 32,
        depth=config.depth or 1,
        stride=1 if config.stem == "small" else 2,
        grid=config.grid,
        zero_init=config.zero_init,
    )


def _check_numbers(config: EncoderConfig) -> None:
    bounds = {
        "image_size": (1, 8192),
        "channels": (1, 1024),
        "patch": (0, 1024),
        "width": (0, 16384),
        "depth": (0, 1024),
        "heads": (0, 1024),
        "grid": (1, 16),
        "drop_path": (0, 0.99),
    }
    for field, (low, high) in bounds.items():
        value = getattr(config, field)
        if not low <= value <= high:
            flag = field.replace("_", "-")
            raise UsageError(
                f"encoder.{field} is {value}; it should be from {low} to {high}. "
                f"Change --encoder.{flag}."
            )


def _check_vit(config: EncoderConfig) -> None:
    heads = config.heads or max(1, config.width // 64)
    if config.width % heads:
        raise UsageError(
            f"An encoder width of {config.width} cannot be split over {heads} heads. "
            "Change --encoder.width or --encoder.heads."
        )
    if config.patch and config.image_size % config.patch:
        raise UsageError(
            f"Images of {config.image_size} pixels cannot be cut into patches of {config.patch}. "
            "Change --encoder.image-size or --encoder.patch."
        )


def _refuse(config: EncoderConfig, *fields: str) -> None:
    default = EncoderConfig()
    for field in fields:
        if getattr(config, field) != getattr(default, field):
            raise UsageError(
                f"The encoder {config.name} has no setting '{field}' (got "
                f"{getattr(config, field)!r}). Leave out --encoder.{field.replace('_', '-')}."
            )
