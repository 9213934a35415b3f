"""What views leave out for a kind of images: presets that change a recipe's crops."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from manyviews.core.errors import UsageError
from manyviews.core.settings import nearest, parts, struct
from manyviews.runs.settings import AnyRun
from manyviews.views.image.oriented import Oriented
from manyviews.views.plan import Crops

_NO_COLOUR = {"saturation": 0.0, "hue": 0.0, "grey": 0.0}
_NO_UP = {"flip_vertical": 0.5, "turn": 0.75}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "up": {},
    "no-up": _NO_UP,
    "grey": {"brightness": 0.4, "contrast": 0.4, **_NO_COLOUR},
    "microscopy": {**_NO_UP, "brightness": 0.2, "contrast": 0.2, **_NO_COLOUR, "blur": (0.1,)},
    "documents": {"flip": 0.0, "scale": (0.5, 1.0), **_NO_COLOUR, "blur": (0.2,)},
}
"""Name -> what it sets of crops; fields of `Oriented` make them such. docs/views.md has reasons."""


def preset(run: AnyRun, name: str) -> AnyRun:
    """A recipe's run with the crops of a preset; what it does not name stays the recipe's.

    Args:
        run: of images.
        name: of `PRESETS`.

    Raises:
        UsageError: there is none of that name, or the run has no crops of images.
    """
    if name not in PRESETS:
        raise UsageError(f"no preset '{name}' of views. {nearest(name, list(PRESETS))}")
    views = parts(run.views)
    changed = {key: _changed(v, PRESETS[name]) for key, v in views.items() if type(v) is Crops}
    if not changed:
        raise UsageError(
            f"--views.preset is for crops of images, and the views of {run.recipe} are "
            f"{', '.join(sorted({type(v).__name__ for v in views.values()}))}. Leave it out."
        )
    return replace(run, views=struct("Views", views | changed))


def _changed(crops: Crops, given: Mapping[str, Any]) -> Crops:
    own = {field.name for field in fields(Crops)}
    # A recipe that has less of something, as MAE has no colours at all, keeps it.
    plain: dict[str, Any] = {
        key: min(value, getattr(crops, key)) if isinstance(value, float) else value
        for key, value in given.items()
        if key in own
    }
    if "blur" in plain:
        plain["blur"] = tuple(min(p, *plain["blur"]) for p in crops.blur)
    if "scale" in plain and not math.isclose(crops.scale[1], 1.0):
        del plain["scale"]  # local crops are small on purpose
    crops = replace(crops, **plain)
    beside = {key: value for key, value in given.items() if key not in own}
    if not beside:
        return crops
    kept = {field.name: getattr(crops, field.name) for field in fields(crops)}
    return Oriented(**kept, **beside)
