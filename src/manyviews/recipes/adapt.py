"""Going on from weights on one's own images, from a thousand of them up."""

from dataclasses import replace
from typing import Any

from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim

NEEDS_START = True


def small(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Weights that are there, adapted to your own data."""
    run = small_data.run(
        facts,
        name="adapt",
        method=SimCLRConfig(temperature=0.2, hidden=512, out=128),
        optim=Optim(
            name="adamw",
            lr=1e-3,
            weight_decay=0.05,
            warmup=0.1,
            clip=1.0,
            layer_decay=0.75,
        ),
    )
    return replace(run, train=replace(run.train, freeze_encoder=0.05))
