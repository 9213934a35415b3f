"""MAGE: for your own images, with codes of a tokenizer of yours; and with contrast, MAGE-C."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.encoders.settings import CodedConfig
from manyviews.methods.masked.mage import MAGEConfig
from manyviews.recipes import small_data
from manyviews.recipes.masked import tokenizer
from manyviews.runs.settings import Facts, Run, Teacher
from manyviews.training.settings import Optim
from manyviews.views.plan import Mask


def small(facts: Facts) -> Run[MAGEConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train mage --data DIR --teachers.tokenizer RUN`, RUN made by
    `manyviews train tokenizer --data DIR`.
    """
    run = small_data.masked(
        facts,
        name="mage",
        method=MAGEConfig(width=128, depth=2, heads=4),
        mask=Mask(ratio=0.5),
        scale=(0.2, 1.0),
        optim=Optim(
            name="adamw", lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.05, clip=3.0
        ),
    )
    run = replace(run, teachers=struct("Teachers", {"tokenizer": Teacher()}))
    if facts.encoder is not None:
        return run
    codes: Any = tokenizer.small(facts).encoders.image
    like: Any = run.encoders.image
    encoder = CodedConfig(
        input=codes.input,
        patch=codes.patch,
        codes=codes.codes,
        filters=codes.width,
        width=like.width or 192,
        depth=like.depth or 12,
        heads=like.heads,
    )
    return replace(run, encoders=struct("Encoders", {"image": encoder}))


def contrastive(facts: Facts) -> Run[MAGEConfig, Any, Any]:
    """The same with two views of each image, whose mean tokens are contrasted (MAGE-C).

    Command: `manyviews train mage-c --data DIR --teachers.tokenizer RUN`.
    """
    run = small(facts)
    crops = replace(parts(run.views)["global"], count=2)
    return replace(
        run,
        recipe="mage-c",
        method=replace(run.method, contrast=0.1, hidden=512, out=128),
        views=struct("Views", {"global": crops}),
    )
