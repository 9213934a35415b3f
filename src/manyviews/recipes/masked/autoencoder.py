"""A plain and a denoising auto-encoder, for your own data: the baselines of masked modelling."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.masked.autoencoder import AutoEncoderConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim
from manyviews.views.plan import Crops, Mask


def plain(facts: Facts) -> Run[AutoEncoderConfig, Any, Any]:
    """An auto-encoder with a bottleneck.

    Command: `manyviews train autoencoder --data DIR`.
    """
    return _run(facts, "autoencoder", Mask())


def denoising(facts: Facts) -> Run[AutoEncoderConfig, Any, Any]:
    """The same, of images of which half the patches are blank.

    Command: `manyviews train denoising --data DIR`.
    """
    return _run(facts, "denoising", Mask(ratio=0.5))


def _run(facts: Facts, name: str, mask: Mask) -> Run[AutoEncoderConfig, Any, Any]:
    views = Crops(count=1, scale=(0.5, 1.0), jitter=0.0, grey=0.0, blur=(0.0,), mask=mask)
    return Run(
        recipe=name,
        method=AutoEncoderConfig(hidden=512),
        encoders=struct("Encoders", {"image": small_data.encoder_of(facts)}),
        views=struct("Views", {"global": views}),
        data=small_data.data(facts),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.05),
        train=small_data.duration(facts),
    )
