"""Write what `test_pinned.py` holds every recipe against.

    python tests/golden/write_recipes.py [RECIPE ...]

writes `recipes/NAME.yaml` of every recipe, or of those named: on either device the whole
config.yaml for the data of `typical_facts`, and the rates at three moments of the training.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from manyviews.core import Clock, Given, Method
from manyviews.recipes import RECIPES
from manyviews.runs import saved
from manyviews.runs.facts import typical_facts
from manyviews.training.optim import build

HERE = Path(__file__).parent / "recipes"
STEPS, EPOCHS = 1000, 100
MOMENTS = (25, 500, 999)
"""Steps of those: in most warm-ups, half-way, and the last."""


class Two(Method):
    """A matrix and a vector, which are all that rates tell apart."""

    def __init__(self) -> None:
        super().__init__(Given({}))
        self.matrix = nn.Parameter(torch.zeros(1, 1))
        self.vector = nn.Parameter(torch.zeros(1))


def rates(run: Any) -> list[dict[str, float]]:
    """Learning rates of matrices and vectors, and the matrices' weight decay, at each moment."""
    found = []
    for step in MOMENTS:
        updates = build(Two(), run.optim, run.data.batch_size)
        updates.set_rates(Clock(step, STEPS, step * EPOCHS // STEPS, EPOCHS))
        matrix, vector = updates.optimizer.param_groups
        found.append(
            {
                "step": step,
                "lr": matrix["lr"],
                "lr_1d": vector["lr"],
                "weight_decay": matrix["weight_decay"],
                "weight_decay_1d": vector["weight_decay"],
            }
        )
    return found


def pinned(recipe: str) -> dict[str, Any]:
    """Device -> config and rates."""
    found = {}
    for device in ("cpu", "cuda"):
        run = RECIPES[recipe](replace(typical_facts(), device=device, cores=8))
        found[device] = {"config": yaml.safe_load(saved.to_yaml(run)), "rates": rates(run)}
    if found["cuda"] == found["cpu"]:  # the same object, which YAML then writes once
        found["cuda"] = found["cpu"]
    return found


def main() -> None:
    """Write the files of the recipes that are named, or of all."""
    HERE.mkdir(exist_ok=True)
    for recipe in sys.argv[1:] or RECIPES:
        text = yaml.safe_dump(pinned(recipe), sort_keys=False, default_flow_style=None, width=100)
        (HERE / f"{recipe}.yaml").write_text(text)


if __name__ == "__main__":
    main()
