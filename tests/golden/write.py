"""Write what the tests in this folder hold the code against.

    python tests/golden/write.py [RECIPE ...]

trains three steps of every recipe in `RECIPES` here, or of those named, and writes `steps.json`
(their losses and settings). The run directories below `runs/` were written by version 0.1.0, before
settings had inputs and families: they are never written again, so that what users have stays
readable.
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import torch

import manyviews

HERE = Path(__file__).parent
DATA = "builtin:fashion"
SHORT = {
    "train.steps": 3,
    "train.log_every": 1,
    "train.precision": "fp32",
    "data.batch_size": 8,
    "data.workers": 0,
}
SMALL = {"encoder.name": "resnet18", "views.global.size": 32}
"""Instead of ImageNet's networks and sizes."""
VIT = {"encoder.name": "vit", "views.global.size": 32, "encoder.patch": 8, "encoder.width": 48}
VIT |= {"encoder.depth": 2, "encoder.heads": 3}
TILES = {"encoder.stem": "small", "views.tiles.cell": 12, "views.tiles.size": 8}
WIDE = {"method.hidden": 32, "method.out": 32}
RECIPES = {
    "simclr": {},
    "simclrv2": {},
    "simclr-multicrop": {},
    "moco": {"method.queue": 64},
    "byol": {},
    "simsiam": {},
    "swav": {},
    "dino": {},
    "ibot": {"encoder.depth": 2},
    "dinov2": {"encoder.depth": 2},
    "msn": {"encoder.depth": 2},
    "pmsn": {"encoder.depth": 2},
    "barlow": {},
    "vicreg": {},
    "joint": {},
    "tico": {},
    "lejepa": {},
    "visreg": {},
    "emp": {},
    "wmse": {"method.sub_batch": 8, "method.out": 3},
    "er": {},
    "mae": {"encoder.depth": 2},
    "mae-hiera": {"encoder.width": 16, "encoder.depths": (1, 1, 1)},
    "tokenizer": {"encoder.width": 16, "encoder.codes": 32, "method.code": 16, "method.width": 16},
    "nnclr": {"method.queue": 64},
    "simmim": {"encoder.depth": 2},
    "maskfeat": {"encoder.depth": 2},
    "data2vec": {"encoder.depth": 3},
    "ijepa": {"encoder.depth": 2},
    "capi": {"encoder.depth": 2, "method.prototypes": 16},
    "igpt": {"encoder.depth": 2, "encoder.width": 48},
    "autoencoder": {"method.hidden": 32},
    "denoising": {"method.hidden": 32},
    "pirl": {"method.negatives": 64, "method.filled": False},
    "pirl-rotation": {"method.negatives": 64, "method.filled": False},
    "rotation": {},
    "jigsaw": {"method.permutations": 16},
    "context": {},
    "exemplar": {},
    "npid": {"method.filled": False},  # which would embed all images
    "local-aggregation": {
        "method.clusters": (20, 20),
        "method.clusters_from": 0.0,
        "method.filled": False,
    },
    "mocov3": {"method.hidden": 32, "method.out": 32},
    "dcl": {},
    "dclw": {},
    "debiased": {},
    "hcl": {},
    "align-uniform": {},
    "drlim": {},
    "triplet": {},
    "infomax": {},
    "amdim": {},
    "infomin": {"method.queue": 64},
    "infomin-jigsaw": {"method.queue": 64},
    "cpc": {},
    "simclr-imagenet": SMALL,
    "moco-imagenet": SMALL | {"method.queue": 64, "method.norm_groups": 2, "encoder.stem": "small"},
    "byol-imagenet": SMALL | {"method.hidden": 32},
    "simsiam-imagenet": SMALL | {"method.hidden": 32, "method.out": 32, "method.bottleneck": 16},
    "swav-imagenet": SMALL | {"views.local.size": 16, "method.hidden": 32, "method.prototypes": 30},
    "dino-imagenet": VIT | {"views.local.size": 16, "method.hidden": 32, "method.prototypes": 64},
    "ibot-imagenet": VIT | {"views.local.size": 16, "method.hidden": 32, "method.prototypes": 64},
    "dinov2-imagenet": VIT
    | {"views.local.size": 16, "method.hidden": 32, "method.prototypes": 64},
    "msn-imagenet": VIT | {"views.local.size": 16, "method.hidden": 32},
    "barlow-imagenet": SMALL | WIDE,
    "vicreg-imagenet": SMALL | WIDE,
    "lejepa-imagenet": VIT | {"views.local.size": 16, "method.lines": 64},
    "visreg-imagenet": VIT | {"views.local.size": 16, "method.lines": 64},
    "emp-imagenet": SMALL | WIDE | {"views.global.count": 4},
    "wmse-imagenet": SMALL | {"method.sub_batch": 8, "method.out": 3},
    "simmim-imagenet": VIT | {"views.global.mask.unit": 2},
    "maskfeat-imagenet": VIT,
    "data2vec-imagenet": VIT | {"method.average": 2},
    "ijepa-imagenet": VIT | {"method.width": 32, "method.depth": 1, "method.heads": 2},
    "mae-imagenet": VIT | {"method.width": 32, "method.depth": 1, "method.heads": 2},
}  # fmt: skip
"""Recipe -> what is set so that three steps take a second."""
CLUSTERS = "embeds all images before its first step; tests/reference has its steps"
TAUGHT = "begins from another run; tests/runs trains it"
COLOURS = "is for colours, and the built-in images have none; tests/faults trains such"
CLIPS = "is for video, which is not built in; tests/faults/test_methods.py trains such"
SOUNDS = "is for sound, which is not built in; tests/faults/test_methods.py trains such"
CLOUDS = "is for clouds, which are not built in; tests/runs/test_clouds.py trains such"
LARGE = "is a small recipe's method with settings that test_pinned.py holds"
UNPINNED = {
    **dict.fromkeys(("deepcluster", "deepcluster-v1", "sela", "sela-v2", "pcl"), CLUSTERS),
    **dict.fromkeys(
        ("distill", "bownet", "adapt", "beit", "mae-codes", "mage", "mage-c", "cma"), TAUGHT
    ),
    "mavil-second": TAUGHT,
    **dict.fromkeys(("xdc", "selavi", "cav-mae", "cav-mae-sync", "mavil", "multisensory"), CLIPS),
    "pirl-imagenet": "differs by 5e-4 between processors in its second step, at a batch of 8",
    **dict.fromkeys(("cmc", "cmc-three", "colorization"), COLOURS),
    **dict.fromkeys(
        ("avid", "gdt", "l3", "avts", "clip-order", "arrow", "speednet", "playback"), CLIPS
    ),
    **dict.fromkeys(("audio-simclr", "audio-byol", "cola", "mae-audio", "eat"), SOUNDS),
    **dict.fromkeys(("rho-simclr", "rho-byol", "rho-moco", "rho-swav", "mae-video"), CLIPS),
    **dict.fromkeys(("depthcontrast", "depthcontrast-points"), CLOUDS),
    **dict.fromkeys(("pointcontrast", "pointcontrast-hardest", "sonata"), CLOUDS),
    **dict.fromkeys(("vjepa", "dpc", "order-verify", "rotation-video"), CLIPS),
    "cubic-puzzle": CLIPS,
    "pointing": CLIPS,
    **dict.fromkeys(("frame-prediction", "frame-interpolation"), CLIPS),
    **dict.fromkeys(("cvrl", "tcn"), CLIPS),
    "memdpc": CLIPS,
    "svt": CLIPS,
    **dict.fromkeys(("brave", "brave-flow", "brave-sound", "brave-sound-flow"), CLIPS),
    **dict.fromkeys(("elo", "elo-sound"), CLIPS),
    **dict.fromkeys(
        (
            "depthcontrast-scannet",
            "avid-kinetics",
            "cma-kinetics",
            "gdt-kinetics",
            "selavi-kinetics",
            "brave-audioset",
            "cav-mae-audioset",
            "audio-byol-audioset",
            "mae-audio-audioset",
            "eat-audioset",
            "rho-simclr-kinetics",
            "rho-byol-kinetics",
            "rho-moco-kinetics",
            "rho-swav-kinetics",
            "mae-video-kinetics",
            "cvrl-kinetics",
            "dpc-kinetics",
            "memdpc-kinetics",
            "svt-kinetics",
            "mae-hiera-imagenet",
            "beit-imagenet",
            "capi-imagenet",
            "igpt-imagenet",
            "vjepa-videomix",
            "npidpp-imagenet",
            "cmc-imagenet",
            "pcl-imagenet",
            "simclrv2-imagenet",
            "infomin-imagenet",
            "amdim-imagenet",
            "mocov3-imagenet",
            "mocov3-vit-imagenet",
            "deepcluster-imagenet",
            "deepcluster-v1-imagenet",
            "sela-imagenet",
            "sela-v2-imagenet",
            "local-aggregation-imagenet",
            "rotation-imagenet",
            "context-imagenet",
            "colorization-imagenet",
            "jigsaw-imagenet",
        ),
        LARGE,
    ),
}
"""Recipe -> why its steps are not written here."""


def losses(run: Path) -> list[dict[str, float]]:
    """Name -> value of every logged step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k.removeprefix("losses/"): v for k, v in line.items() if k.startswith("losses/")}
        for line in lines
        if line["kind"] == "train"
    ]


def trained(recipe: str, folder: Path, **more: object) -> Path:
    """The run directory of three steps of a recipe, without what is looked at afterwards."""
    out = folder / recipe
    with patch.multiple("manyviews.runs.train", _held=nothing, _report=nothing):
        manyviews.train(recipe, data=DATA, out=out, overrides=SHORT | RECIPES[recipe] | more)
    return out


def nothing(*_: object, **__: object) -> None:
    """Instead of verdict and report, which take ten times as long as three steps."""


def main() -> None:
    """Write `steps.json` anew, or of it the recipes that are named."""
    # As the tests: several threads add up in another order, and batch norms over a few samples
    # turn 1e-7 in the first loss into 2e-3 in the third.
    torch.set_num_threads(1)
    named = sys.argv[1:]
    found = json.loads((HERE / "steps.json").read_text()) if named else {}
    with tempfile.TemporaryDirectory() as folder:
        for recipe in named or RECIPES:
            run = trained(recipe, Path(folder))
            config = (run / "config.yaml").read_text()
            found[recipe] = {"losses": losses(run), "config": config.splitlines()}
    (HERE / "steps.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
