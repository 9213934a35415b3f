"""Recipes: functions from facts about the data and the machine to a complete `Run`.

A plain method name is its recipe for your own data, sized to the images and the hardware; the
name with one of `AUTHORS_DATA` at its end holds the authors' hyper-parameters.
"""

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from manyviews.core.errors import UsageError
from manyviews.core.lazy import Lazy

if TYPE_CHECKING:
    from manyviews.runs.settings import AnyRun, Recipe

AUTHORS_DATA = ("-imagenet", "-kinetics", "-audioset", "-videomix", "-scannet")
"""What the name of a recipe with the authors' hyper-parameters ends in."""

RECIPES: "Lazy[Recipe]" = Lazy(
    "manyviews.recipes",
    {
        "simclr": "contrastive.simclr:small",
        "simclrv2": "contrastive.simclr:deep",
        "simclr-multicrop": "contrastive.simclr:multicrop",
        "moco": "contrastive.moco:small",
        "byol": "distillation.byol:small",
        "simsiam": "distillation.simsiam:small",
        "swav": "clustering.swav:small",
        "dino": "distillation.dino:small",
        "ibot": "distillation.ibot:small",
        "dinov2": "distillation.dinov2:small",
        "msn": "distillation.msn:small",
        "pmsn": "distillation.msn:prior",
        "distill": "distillation.distill:small",
        "barlow": "redundancy.barlow:small",
        "vicreg": "redundancy.vicreg:small",
        "wmse": "redundancy.wmse:small",
        "tico": "redundancy.tico:small",
        "lejepa": "redundancy.lejepa:small",
        "visreg": "redundancy.visreg:small",
        "emp": "redundancy.emp:small",
        "er": "information.er:small",
        "joint": "joint:small",
        "mae": "masked.mae:small",
        "mae-codes": "masked.mae:codes",
        "mae-hiera": "masked.hiera:small",
        "tokenizer": "masked.tokenizer:small",
        "beit": "masked.beit:small",
        "mage": "masked.mage:small",
        "mage-c": "masked.mage:contrastive",
        "nnclr": "contrastive.nnclr:small",
        "npid": "contrastive.npid:small",
        "cmc": "contrastive.cmc:small",
        "cmc-three": "contrastive.cmc:three",
        "pcl": "contrastive.pcl:small",
        "mocov3": "contrastive.mocov3:small",
        "dcl": "contrastive.dcl:small",
        "dclw": "contrastive.dcl:weighted",
        "debiased": "contrastive.debiased:small",
        "hcl": "contrastive.hcl:small",
        "align-uniform": "contrastive.align_uniform:small",
        "drlim": "contrastive.drlim:small",
        "triplet": "contrastive.triplet:small",
        "infomax": "contrastive.infomax:small",
        "amdim": "contrastive.amdim:small",
        "infomin": "contrastive.infomin:small",
        "infomin-jigsaw": "contrastive.infomin:jigsaw",
        "cpc": "contrastive.cpc:small",
        "simmim": "masked.simmim:small",
        "maskfeat": "masked.maskfeat:small",
        "data2vec": "masked.data2vec:small",
        "ijepa": "masked.ijepa:small",
        "capi": "masked.capi:small",
        "igpt": "masked.igpt:small",
        "autoencoder": "masked.autoencoder:plain",
        "denoising": "masked.autoencoder:denoising",
        "pirl": "contrastive.pirl:small",
        "pirl-rotation": "contrastive.pirl:rotation",
        "deepcluster": "clustering.deepcluster:small",
        "rotation": "pretext.rotation:small",
        "context": "pretext.context:small",
        "colorization": "pretext.colorization:small",
        "jigsaw": "pretext.jigsaw:small",
        "exemplar": "pretext.exemplar:small",
        "deepcluster-v1": "clustering.deepcluster_v1:small",
        "sela": "clustering.sela:small",
        "bownet": "clustering.bownet:small",
        "sela-v2": "clustering.sela_v2:small",
        "local-aggregation": "clustering.local_aggregation:small",
        "avid": "audiovisual.avid:small",
        "cma": "audiovisual.cma:small",
        "gdt": "audiovisual.gdt:small",
        "l3": "audiovisual.together:l3",
        "avts": "audiovisual.together:avts",
        "multisensory": "audiovisual.together:multisensory",
        "xdc": "audiovisual.clusters:xdc",
        "selavi": "audiovisual.clusters:selavi",
        "cav-mae": "audiovisual.cavmae:small",
        "cav-mae-sync": "audiovisual.cavmae:sync",
        "mavil": "audiovisual.mavil:small",
        "mavil-second": "audiovisual.mavil:second",
        "audio-simclr": "audio.joint:simclr",
        "audio-byol": "audio.joint:byol",
        "cola": "audio.joint:cola",
        "mae-audio": "audio.mae:small",
        "eat": "audio.eat:small",
        "rho-simclr": "video.rho:simclr",
        "rho-byol": "video.rho:byol",
        "rho-moco": "video.rho:moco",
        "rho-swav": "video.rho:swav",
        "mae-video": "video.mae:small",
        "vjepa": "video.vjepa:small",
        "clip-order": "video.temporal:clip_order",
        "cubic-puzzle": "video.puzzle:small",
        "pointing": "video.pointing:small",
        "frame-prediction": "video.mae:future",
        "frame-interpolation": "video.mae:between",
        "cvrl": "video.cvrl:small",
        "tcn": "video.tcn:small",
        "dpc": "video.dpc:small",
        "memdpc": "video.dpc:memory",
        "svt": "video.svt:small",
        "elo": "video.elo:small",
        "elo-sound": "audiovisual.elo:sound",
        "brave": "video.brave:small",
        "brave-flow": "video.brave:flow",
        "brave-sound": "audiovisual.brave:sound",
        "brave-sound-flow": "audiovisual.brave:sound_and_flow",
        "order-verify": "video.temporal:verify",
        "rotation-video": "video.temporal:rotation",
        "arrow": "video.temporal:arrow",
        "speednet": "video.temporal:speednet",
        "playback": "video.temporal:playback",
        "depthcontrast": "points.depthcontrast:small",
        "depthcontrast-points": "points.depthcontrast:points",
        "pointcontrast": "points.pointcontrast:small",
        "pointcontrast-hardest": "points.pointcontrast:hardest",
        "sonata": "points.sonata:small",
        "adapt": "continuation.adapt:small",
        "simclr-imagenet": "contrastive.simclr:imagenet",
        "simclrv2-imagenet": "contrastive.simclr:deep_imagenet",
        "moco-imagenet": "contrastive.moco:imagenet",
        "byol-imagenet": "distillation.byol:imagenet",
        "simsiam-imagenet": "distillation.simsiam:imagenet",
        "swav-imagenet": "clustering.swav:imagenet",
        "dino-imagenet": "distillation.dino:imagenet",
        "ibot-imagenet": "distillation.ibot:imagenet",
        "dinov2-imagenet": "distillation.dinov2:imagenet",
        "msn-imagenet": "distillation.msn:imagenet",
        "barlow-imagenet": "redundancy.barlow:imagenet",
        "vicreg-imagenet": "redundancy.vicreg:imagenet",
        "wmse-imagenet": "redundancy.wmse:imagenet",
        "lejepa-imagenet": "redundancy.lejepa:imagenet",
        "visreg-imagenet": "redundancy.visreg:imagenet",
        "emp-imagenet": "redundancy.emp:imagenet",
        "mae-imagenet": "masked.mae:imagenet",
        "mae-hiera-imagenet": "masked.hiera:imagenet",
        "beit-imagenet": "masked.beit:imagenet",
        "npidpp-imagenet": "contrastive.npid:plus_imagenet",
        "amdim-imagenet": "contrastive.amdim:imagenet",
        "infomin-imagenet": "contrastive.infomin:imagenet",
        "cmc-imagenet": "contrastive.cmc:imagenet",
        "pcl-imagenet": "contrastive.pcl:imagenet",
        "mocov3-imagenet": "contrastive.mocov3:imagenet",
        "mocov3-vit-imagenet": "contrastive.mocov3:vit_imagenet",
        "simmim-imagenet": "masked.simmim:imagenet",
        "maskfeat-imagenet": "masked.maskfeat:imagenet",
        "data2vec-imagenet": "masked.data2vec:imagenet",
        "ijepa-imagenet": "masked.ijepa:imagenet",
        "capi-imagenet": "masked.capi:imagenet",
        "igpt-imagenet": "masked.igpt:imagenet",
        "pirl-imagenet": "contrastive.pirl:imagenet",
        "deepcluster-imagenet": "clustering.deepcluster:imagenet",
        "rotation-imagenet": "pretext.rotation:imagenet",
        "colorization-imagenet": "pretext.colorization:imagenet",
        "context-imagenet": "pretext.context:imagenet",
        "jigsaw-imagenet": "pretext.jigsaw:imagenet",
        "deepcluster-v1-imagenet": "clustering.deepcluster_v1:imagenet",
        "sela-imagenet": "clustering.sela:imagenet",
        "sela-v2-imagenet": "clustering.sela_v2:imagenet",
        "local-aggregation-imagenet": "clustering.local_aggregation:imagenet",
        "avid-kinetics": "audiovisual.avid:kinetics",
        "cma-kinetics": "audiovisual.cma:kinetics",
        "gdt-kinetics": "audiovisual.gdt:kinetics",
        "selavi-kinetics": "audiovisual.clusters:selavi_kinetics",
        "brave-audioset": "audiovisual.brave:audioset",
        "cav-mae-audioset": "audiovisual.cavmae:audioset",
        "audio-byol-audioset": "audio.joint:byol_audioset",
        "mae-audio-audioset": "audio.mae:audioset",
        "eat-audioset": "audio.eat:audioset",
        "rho-simclr-kinetics": "video.rho:simclr_kinetics",
        "rho-byol-kinetics": "video.rho:byol_kinetics",
        "rho-moco-kinetics": "video.rho:moco_kinetics",
        "rho-swav-kinetics": "video.rho:swav_kinetics",
        "mae-video-kinetics": "video.mae:kinetics",
        "dpc-kinetics": "video.dpc:kinetics",
        "memdpc-kinetics": "video.dpc:memory_kinetics",
        "cvrl-kinetics": "video.cvrl:kinetics",
        "svt-kinetics": "video.svt:kinetics",
        "depthcontrast-scannet": "points.depthcontrast:scannet",
        "vjepa-videomix": "video.vjepa:videomix",
    },
)


def streams_of(recipe: str) -> tuple[str, ...]:
    """The streams that a recipe takes: its own or its module's `STREAMS`, or images."""
    return _said(recipe, "STREAMS", default=("image",))


def needs_start(recipe: str) -> bool:
    """Whether a recipe goes on from weights, and wants some: its own or its module's word."""
    return _said(recipe, "NEEDS_START", default=False)


def _said(recipe: str, name: str, *, default: Any) -> Any:
    if recipe not in RECIPES:
        return default
    make = RECIPES[recipe]
    return getattr(make, name, getattr(sys.modules.get(make.__module__), name, default))


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
