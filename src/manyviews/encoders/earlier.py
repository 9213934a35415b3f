"""Encoders as 0.1.0 described them, one flat record for every kind, in the settings of today."""

from collections.abc import Mapping
from typing import Any

from manyviews.core import UsageError

_OWN = {
    "resnet_small": ("stem", "width", "depth", "grid", "zero_init"),
    "vit": ("name", "patch", "width", "depth", "heads", "positions", "pool", "drop_path"),
    "timm": ("name", "stem", "zero_init", "drop_path"),
}


def kind(flat: Mapping[str, Any]) -> str:
    """The kind of an encoder of 0.1.0."""
    name = str(flat.get("name"))
    if name in ("resnet_small", "vit"):
        return name
    import timm

    return "vit" if timm.models.is_model_in_modules(name, ["vision_transformer"]) else "timm"


def settings(flat: Mapping[str, Any], *, mean: Any, std: Any) -> dict[str, Any]:
    """The tree of an encoder's settings: {"is": kind, "input": {...}, ...}.

    Args:
        flat: name, image_size, channels and what else 0.1.0 wrote.
        mean: per channel, which stood elsewhere.
        std: likewise.

    Raises:
        UsageError: the record lacks something.
    """
    try:
        side, channels = flat["image_size"], flat["channels"]
        what = kind(flat)
        own = {name: flat[name] for name in _OWN[what]}
    except KeyError as missing:
        raise UsageError(f"The encoder's settings lack {missing}. Add it.") from None
    if what == "resnet_small":  # 0 was its default
        own |= {"width": own["width"] or 32, "depth": own["depth"] or 1}
    fed = {"side": side, "channels": channels, "mean": mean, "std": std}
    return {"is": what, "input": fed, **own}
