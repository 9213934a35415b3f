"""Which views an encoder gets by what it is fed: plain ones, random ones, single changes."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, Input, LogMel, Pixels, Points
from manyviews.core.sample import Family
from manyviews.views.audio.plain import PlainSounds
from manyviews.views.audio.sounds import Sounds
from manyviews.views.image.plain import Plain, PlainImages
from manyviews.views.image.single import altered
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops
from manyviews.views.points.clouds import Clouds
from manyviews.views.points.plain import PlainClouds
from manyviews.views.video.clips import Clips
from manyviews.views.video.plain import PlainClips
from manyviews.views.video.single import retimed

PLAIN: Mapping[type[Any], type[Any]] = {
    Pixels: PlainImages,
    Frames: PlainClips,
    LogMel: PlainSounds,
    Points: PlainClouds,
}
"""Kind of input -> the family that is its evaluation view.

One with `beside`, a kind of input, is cut around the view of the first encoder that is fed that.
`averaged` names of what there can be several, to average features over: "clips" in time, "crops".
"""

RANDOM: Mapping[type[Any], type[Any]] = {
    Pixels: Crops,
    Frames: Clips,
    LogMel: Sounds,
    Points: Clouds,
}
"""Kind of input -> the family of random views that an encoder alone is looked at with.

Its `alone()` is the same without what it has of others, its views as large as the encoder is fed.
"""

ALTERED: Mapping[type[Any], Callable[[Any], dict[str, Family]]] = {
    Pixels: altered,
    Frames: retimed,
}
"""Kind of input -> each single change, as a family made of evaluation views."""


def plain(encoders: Mapping[str, Fed]) -> Pipeline:
    """The evaluation views of each encoder, as families of the encoders' names.

    Sound beside video is that of the video's clips.
    """
    families: dict[str, Family] = {}
    for name, fed in encoders.items():
        kind = PLAIN[type(fed.input)]
        beside: type[Any] | None = getattr(kind, "beside", None)
        if beside is None:
            families[name] = kind(to=name)
        else:
            others = (other for other, its in encoders.items() if isinstance(its.input, beside))
            families[name] = kind(to=name, around=next(others, ""))
    return Pipeline(families, encoders)


def plain_of(input: Input, *, clips: int = 1, crops: int = 1) -> Pipeline:
    """The evaluation view of one encoder, which is fed `input`, as the only family.

    Args:
        input: what the encoder is fed.
        clips: of each video or sound, spread evenly over it.
        crops: of each clip, spread along its longer side; 1 is its middle.

    Raises:
        UsageError: the input has no clips or crops to have several of.
    """
    encoders, asked = {"encoder": Fed(input)}, {"clips": clips, "crops": crops}
    kind = PLAIN[type(input)]
    can: tuple[str, ...] = getattr(kind, "averaged", ())
    for name, number in asked.items():
        if number < 1:
            raise UsageError(f"--{name} is {number}; wanted 1 or more.")
        if number > 1 and name not in can:
            fed = type(input).__name__
            raise UsageError(
                f"--{name} {number}: an encoder that is fed {fed} has one. Leave it out."
            )
    if clips * crops == 1:
        return plain(encoders)
    settings = {"crops": crops} if "crops" in can else {}
    alone = {"around": ""} if hasattr(kind, "beside") else {}
    return Pipeline(
        {"encoder": kind(to="encoder", count=clips * crops, **settings, **alone)}, encoders
    )


def whole_of(input: Pixels) -> Pipeline:
    """As `plain_of`, of whole images made square: boxes keep their shares of the sides."""
    return Pipeline({"encoder": PlainImages(to="encoder", whole=True)}, {"encoder": Fed(input)})


def plain_numbers(input: Pixels, mask: NDArray[np.int32]) -> NDArray[np.int32]:
    """[S, S]: of a mask [H, W] what `plain_of` shows of its image; numbers stay as they are."""
    return Plain(input).numbers(mask)


def random_of(
    input: Input, families: Mapping[str, Family], encoder: str = "", *, seed: int = 0
) -> Pipeline:
    """Random views of one encoder by itself, as the only family: its first in a plan of views.

    That is the first family of the kind that `RANDOM` has for the input, with its views as large
    as the encoder is fed, unmasked and cut around nothing; where a plan has none, that kind as it
    comes.

    Args:
        input: what the encoder is fed.
        families: the plan, by name.
        encoder: its name there.
        seed: of the run.

    Raises:
        UsageError: there is no such family.
    """
    kind = RANDOM.get(type(input))
    own = {name: plan for name, plan in families.items() if plan.to == encoder}
    fitting = {name: plan for name, plan in own.items() if type(plan) is kind}
    chosen = fitting or ({"global": kind(to=encoder)} if kind else own)
    if not chosen:
        raise UsageError(
            f"There are no random views for an encoder that is fed {type(input).__name__}. "
            "Give its run, which has some."
        )
    name, plan = next(iter(chosen.items()))
    if type(plan) is kind:
        plan = cast("Any", plan).alone()
    return Pipeline({name: plan}, {encoder: Fed(input)}, seed=seed)
