"""MAE on Hiera: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders import choose
from manyviews.encoders.settings import HieraConfig
from manyviews.methods.masked.mae import MAEConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops, Mask


def small(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own data: three light stages, or on a GPU with large images the authors' tiny.

    Command: `manyviews train mae-hiera --data DIR`.
    """
    encoder = facts.encoder or _chosen(facts)
    unit = 2
    if isinstance(encoder, HieraConfig):
        unit = 2 ** ((len(encoder.depths) or 4) - 1 - encoder.pools)
    mask = Mask(ratio=0.6, unit=unit)
    views = Crops(count=1, scale=(0.5, 1.0), jitter=0.0, grey=0.0, blur=(0.0,), mask=mask)
    return Run(
        recipe="mae-hiera",
        method=MAEConfig(width=128, depth=2, heads=4),
        encoders=struct("Encoders", {"image": encoder}),
        views=struct("Views", {"global": views}),
        data=small_data.data(facts),
        optim=Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.05),
        train=small_data.duration(facts),
    )


def _chosen(facts: Facts) -> HieraConfig:
    """Fed as a ViT would be, but for a side that mask units divide."""
    fed = small_data.fed(facts)
    fed = choose(fed, side=facts.side, device=facts.device, tokens=True).config.input
    if facts.device != "cpu" and fed.side % 32 == 0 and fed.side > 64:
        return HieraConfig(input=fed, pools=2, fusion=True)
    patch = 2 if fed.side <= 64 else 4
    fed = replace(fed, side=max(2, round(fed.side / (4 * patch))) * 4 * patch)
    return HieraConfig(
        input=fed, patch=patch, width=48, heads=1, depths=(1, 2, 4), pools=1, fusion=True
    )


def imagenet(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """The authors' base on ImageNet: 84.5 % fine-tuned (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train mae-hiera-imagenet --data DIR`; 1600
    epochs. Source: arXiv:2306.00989, appendix; facebookresearch/hiera hiera/hiera_mae.py.
    """
    views = replace(photometric.MAE, mask=Mask(ratio=0.6, unit=2))
    return Run(
        recipe="mae-hiera-imagenet",
        method=MAEConfig(),
        encoders=authors.image(HieraConfig(name="hiera_base", pools=2, fusion=True, drop_path=0.2)),
        views=struct("Views", {"global": views}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(
            name="adamw",
            lr=8e-4,
            lr_per=0,
            weight_decay=0.05,
            betas=(0.9, 0.95),
            warmup=40 / 1600,
        ),
        train=Train(epochs=1600),
    )
