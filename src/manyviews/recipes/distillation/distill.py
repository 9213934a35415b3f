"""A frozen teacher into an encoder of your own size, on your own images."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.distillation.distill import DistillConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run, Teacher
from manyviews.training.settings import Optim


def small(facts: Facts) -> Run[DistillConfig, Any, Any]:
    """Your own data, sized to the images and the hardware; the teacher is yours to name.

    One view of each image, the same for both networks, as in SEED.
    Command: `manyviews train distill --data DIR --teachers.teacher timm:NAME | FILE | RUN`.
    """
    size = small_data.encoder_of(facts).input.side
    run = small_data.run(
        facts,
        name="distill",
        method=DistillConfig(queue=4096, clusters=max(2, min(256, facts.count // 4))),
        optim=Optim(name="adamw", lr=4e-3, weight_decay=0.05, warmup=0.05, clip=1.0),
    )
    return replace(
        run,
        views=struct("Views", {"global": small_data.crops(facts, size=size, count=1)}),
        teachers=struct("Teachers", {"teacher": Teacher()}),
    )
