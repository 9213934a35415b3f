"""A tokenizer of your own images: discrete codes that BEiT predicts."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders import ViTConfig
from manyviews.encoders.settings import DVAEConfig
from manyviews.methods.masked.tokenizer import DiscreteVAEConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim
from manyviews.views.plan import Crops

PATCH = 16
"""Of the ViT that small_data takes where it does not say."""


def small(facts: Facts) -> Run[DiscreteVAEConfig, Any, Any]:
    """Your own data; a code for each patch of the ViT that `beit` takes for it.

    Command: `manyviews train tokenizer --data DIR`.
    """
    encoder = facts.encoder
    if not isinstance(encoder, DVAEConfig):
        vit = small_data.encoder_of(facts, tokens=True, masked=True)
        patch = vit.patch or PATCH if isinstance(vit, ViTConfig) else PATCH
        encoder = DVAEConfig(input=vit.input, patch=patch, codes=512)
    views = Crops(count=1, scale=(0.5, 1.0), jitter=0.0, grey=0.0, blur=(0.0,))
    return Run(
        recipe="tokenizer",
        method=DiscreteVAEConfig(code=128),
        encoders=struct("Encoders", {"image": encoder}),
        views=struct("Views", {"global": views}),
        data=small_data.data(facts),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=1e-4, warmup=0.05, clip=1.0),
        train=small_data.duration(facts),
    )
