"""Going on from weights on one's own images, from a thousand of them up."""

import math
from dataclasses import replace
from typing import Any

from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train

LARGEST_BATCH = 128
SEEN, EPOCHS = 30_000, 10
"""Images in all, and the fewest epochs."""

NEEDS_START = True
"""As `recipes.needs_start` reads it."""


def small(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Weights that are there, adapted to your own images: a thousand or more.

    Command: `manyviews train adapt --start RUN --data DIR`, with `--start` any of
    docs/settings.md, "Starting points"; measured in docs/experiments/adapt.md.

    The loss is SimCLR's. As in DIET-CP (arXiv:2509.06990), which goes on from 1,000 images by
    telling each of them from all others, an image is a class of its own; but the others are those
    of the batch, so there is no weight or bank for each image, and no slow teacher, centre or
    queue that a few hundred steps would have to fill first. It runs on any encoder.

    What naive continuation gets wrong, and what is set here: heads that begin at random would
    send their first gradients through the encoder, so it stands still for the first 5 % (DIET-CP);
    the warm-up is twice as long, so it thaws into half the rate. That rate is AdamW's of DIET-CP
    and VESSA (arXiv:2510.20994), at 256 images from 2.5e-4 to 8e-4, rounded up, since it falls by
    0.75 with each block towards the input, as for fine-tuning MAE. Weight decay is DIET-CP's, the
    clipping VESSA's. 1,000 images are seen 30 times as in DIET-CP, large sets 10 times as in
    VESSA.
    """
    run = small_data.run(
        facts,
        name="adapt",
        method=SimCLRConfig(temperature=0.2, hidden=512, out=128),
        optim=Optim(
            name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.1, clip=1.0, layer_decay=0.75
        ),
    )
    return replace(
        run,
        data=replace(run.data, batch_size=min(LARGEST_BATCH, run.data.batch_size)),
        train=Train(epochs=max(EPOCHS, math.ceil(SEEN / max(1, facts.count))), freeze_encoder=0.05),
    )
