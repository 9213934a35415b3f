"""Write what the tests in this folder hold the code against.

    python tests/golden/write.py [RECIPE ...]

trains three steps of every recipe, or of those named, and writes `steps.json` (their losses and
settings). The run directories below `runs/` were written by version 0.1.0, before settings had
inputs and families: they are never written again, so that what users have stays readable.
"""

import json
import sys
import tempfile
from pathlib import Path

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
    "moco": {"method.queue": 64},
    "byol": {},
    "simsiam": {},
    "swav": {},
    "dino": {},
    "barlow": {},
    "vicreg": {},
    "er": {},
    "mae": {"encoder.depth": 2},
    "nnclr": {"method.queue": 64},
    "simmim": {"encoder.depth": 2},
    "maskfeat": {"encoder.depth": 2},
    "data2vec": {"encoder.depth": 3},
    "ijepa": {"encoder.depth": 2},
    "autoencoder": {"method.hidden": 32},
    "denoising": {"method.hidden": 32},
    "pirl": {"method.negatives": 64},
    "rotation": {},
    "jigsaw": {"method.permutations": 16},
    "context": {},
    "exemplar": {},
    "simclr-imagenet": SMALL,
    "moco-imagenet": SMALL | {"method.queue": 64, "method.norm_groups": 2, "encoder.stem": "small"},
    "byol-imagenet": SMALL | {"method.hidden": 32},
    "simsiam-imagenet": SMALL | {"method.hidden": 32, "method.out": 32, "method.bottleneck": 16},
    "swav-imagenet": SMALL | {"views.local.size": 16, "method.hidden": 32, "method.prototypes": 30},
    "dino-imagenet": VIT | {"views.local.size": 16, "method.hidden": 32, "method.prototypes": 64},
    "barlow-imagenet": SMALL | WIDE,
    "vicreg-imagenet": SMALL | WIDE,
    "pirl-imagenet": SMALL | TILES | {"method.negatives": 64},
    "simmim-imagenet": VIT | {"views.global.mask.unit": 2},
    "maskfeat-imagenet": VIT,
    "data2vec-imagenet": VIT | {"method.average": 2},
    "ijepa-imagenet": VIT | {"method.width": 32, "method.depth": 1, "method.heads": 2},
    "mae-imagenet": VIT | {"method.width": 32, "method.depth": 1, "method.heads": 2},
}  # fmt: skip
"""Recipe -> what is set so that three steps take a second."""


def losses(run: Path) -> list[dict[str, float]]:
    """Name -> value of every logged step."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k.removeprefix("losses/"): v for k, v in line.items() if k.startswith("losses/")}
        for line in lines
        if line["kind"] == "train"
    ]


def trained(recipe: str, folder: Path, **more: object) -> Path:
    """The run directory of three steps of a recipe."""
    out = folder / recipe
    manyviews.train(recipe, data=DATA, out=out, overrides=SHORT | RECIPES[recipe] | more)
    return out


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
