"""Recipes: functions from facts about the data and the machine to a complete `Run`.

A plain method name is its recipe for your own data, sized to the images and the hardware; the
name with `-imagenet` or `-kinetics` holds the authors' hyper-parameters.
"""

import math
from dataclasses import replace

from manyviews.core import UsageError
from manyviews.recipes.audiovisual import avid
from manyviews.recipes.clustering import deepcluster, swav
from manyviews.recipes.contrastive import moco, pirl, simclr
from manyviews.recipes.distillation import byol, dino
from manyviews.recipes.information import er
from manyviews.recipes.masked import mae
from manyviews.recipes.redundancy import barlow, vicreg
from manyviews.runs.settings import AnyRun, Recipe

RECIPES: dict[str, Recipe] = {
    "simclr": simclr.small,
    "moco": moco.small,
    "byol": byol.small,
    "swav": swav.small,
    "dino": dino.small,
    "barlow": barlow.small,
    "vicreg": vicreg.small,
    "er": er.small,
    "mae": mae.small,
    "pirl": pirl.small,
    "deepcluster": deepcluster.small,
    "avid": avid.small,
    "simclr-imagenet": simclr.imagenet,
    "moco-imagenet": moco.imagenet,
    "byol-imagenet": byol.imagenet,
    "swav-imagenet": swav.imagenet,
    "dino-imagenet": dino.imagenet,
    "barlow-imagenet": barlow.imagenet,
    "vicreg-imagenet": vicreg.imagenet,
    "mae-imagenet": mae.imagenet,
    "pirl-imagenet": pirl.imagenet,
    "deepcluster-imagenet": deepcluster.imagenet,
    "avid-kinetics": avid.kinetics,
}


_STREAMS: dict[str, tuple[str, ...]] = {
    "avid": ("video", "audio"),
    "avid-kinetics": ("video", "audio"),
}
"""Recipe -> the streams that it takes, of those that take others than images."""


def streams_of(recipe: str) -> tuple[str, ...]:
    """The streams that a recipe takes."""
    return _STREAMS.get(recipe, ("image",))


def one_duration(run: AnyRun, default: AnyRun) -> AnyRun:
    """Let the duration that a user gave replace the recipe's.

    Raises:
        UsageError: more than one of steps, epochs and minutes was given, or none.
    """
    mine = {k: getattr(run.train, k) for k in ("steps", "epochs", "minutes")}
    theirs = {k: getattr(default.train, k) for k in mine}
    given = {k: v for k, v in mine.items() if v and v != theirs[k]}
    chosen = given or {k: v for k, v in mine.items() if v}
    if len(chosen) != 1:
        flags = ", ".join(f"--train.{k} {v}" for k, v in chosen.items()) or "no duration"
        raise UsageError(f"{flags}: give exactly one of --train.steps, .epochs, .minutes.")
    [(name, value)] = chosen.items()
    if not 0 < value < math.inf:
        raise UsageError(f"--train.{name} {value} is no duration. Give a positive number.")
    duration = {"steps": 0, "epochs": 0, "minutes": 0.0} | chosen
    return replace(run, train=replace(run.train, **duration))
