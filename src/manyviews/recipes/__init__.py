"""Recipes: functions from facts about the data and the machine to a complete `Run`.

A plain method name is its recipe for your own data, sized to the images and the hardware; the
name with `-imagenet` or `-kinetics` holds the authors' hyper-parameters.
"""

import math
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from manyviews.core.errors import UsageError
from manyviews.core.lazy import Lazy

if TYPE_CHECKING:
    from manyviews.runs.settings import AnyRun, Recipe

RECIPES: "Lazy[Recipe]" = Lazy(
    "manyviews.recipes",
    {
        "simclr": "contrastive.simclr:small",
        "moco": "contrastive.moco:small",
        "byol": "distillation.byol:small",
        "simsiam": "distillation.simsiam:small",
        "swav": "clustering.swav:small",
        "dino": "distillation.dino:small",
        "distill": "distillation.distill:small",
        "barlow": "redundancy.barlow:small",
        "vicreg": "redundancy.vicreg:small",
        "er": "information.er:small",
        "mae": "masked.mae:small",
        "nnclr": "contrastive.nnclr:small",
        "npid": "contrastive.npid:small",
        "mocov3": "contrastive.mocov3:small",
        "dcl": "contrastive.dcl:small",
        "dclw": "contrastive.dcl:weighted",
        "debiased": "contrastive.debiased:small",
        "hcl": "contrastive.hcl:small",
        "align-uniform": "contrastive.align_uniform:small",
        "drlim": "contrastive.drlim:small",
        "triplet": "contrastive.triplet:small",
        "simmim": "masked.simmim:small",
        "maskfeat": "masked.maskfeat:small",
        "data2vec": "masked.data2vec:small",
        "ijepa": "masked.ijepa:small",
        "autoencoder": "masked.autoencoder:plain",
        "denoising": "masked.autoencoder:denoising",
        "pirl": "contrastive.pirl:small",
        "deepcluster": "clustering.deepcluster:small",
        "rotation": "pretext.rotation:small",
        "context": "pretext.context:small",
        "jigsaw": "pretext.jigsaw:small",
        "exemplar": "pretext.exemplar:small",
        "deepcluster-v1": "clustering.deepcluster_v1:small",
        "sela": "clustering.sela:small",
        "avid": "audiovisual.avid:small",
        "adapt": "continuation.adapt:small",
        "simclr-imagenet": "contrastive.simclr:imagenet",
        "moco-imagenet": "contrastive.moco:imagenet",
        "byol-imagenet": "distillation.byol:imagenet",
        "simsiam-imagenet": "distillation.simsiam:imagenet",
        "swav-imagenet": "clustering.swav:imagenet",
        "dino-imagenet": "distillation.dino:imagenet",
        "barlow-imagenet": "redundancy.barlow:imagenet",
        "vicreg-imagenet": "redundancy.vicreg:imagenet",
        "mae-imagenet": "masked.mae:imagenet",
        "npidpp-imagenet": "contrastive.npid:plus_imagenet",
        "mocov3-imagenet": "contrastive.mocov3:imagenet",
        "mocov3-vit-imagenet": "contrastive.mocov3:vit_imagenet",
        "simmim-imagenet": "masked.simmim:imagenet",
        "maskfeat-imagenet": "masked.maskfeat:imagenet",
        "data2vec-imagenet": "masked.data2vec:imagenet",
        "ijepa-imagenet": "masked.ijepa:imagenet",
        "pirl-imagenet": "contrastive.pirl:imagenet",
        "deepcluster-imagenet": "clustering.deepcluster:imagenet",
        "rotation-imagenet": "pretext.rotation:imagenet",
        "context-imagenet": "pretext.context:imagenet",
        "jigsaw-imagenet": "pretext.jigsaw:imagenet",
        "deepcluster-v1-imagenet": "clustering.deepcluster_v1:imagenet",
        "sela-imagenet": "clustering.sela:imagenet",
        "avid-kinetics": "audiovisual.avid:kinetics",
    },
)


def streams_of(recipe: str) -> tuple[str, ...]:
    """The streams that a recipe takes: its module's `STREAMS`, or images."""
    return getattr(_home(recipe), "STREAMS", ("image",))


def needs_start(recipe: str) -> bool:
    """Whether a recipe goes on from weights, and wants some to go on from."""
    return getattr(_home(recipe), "NEEDS_START", False)


def _home(recipe: str) -> ModuleType | None:
    module = RECIPES.module(recipe)
    return import_module(f"manyviews.recipes.{module}") if module else None


def one_duration(run: "AnyRun", default: "AnyRun") -> "AnyRun":
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
