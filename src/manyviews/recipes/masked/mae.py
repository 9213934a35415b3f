"""MAE: for your own data, and as the authors trained it on ImageNet."""

from manyviews.encoders.settings import EncoderConfig
from manyviews.methods.masked.mae import MAEConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Mask, Views


def small(facts: Facts) -> Run[MAEConfig]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train mae --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.masked(facts)


def imagenet(facts: Facts) -> Run[MAEConfig]:
    """The authors' ViT-B/16 on ImageNet: 67.8 % linear, 83.66 % fine-tuned (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train mae-imagenet --data DIR`; 1600
    epochs. Source: facebookresearch/mae PRETRAIN.md.
    """
    return Run(
        recipe="mae-imagenet",
        method=MAEConfig(),
        encoder=EncoderConfig(
            name="vit_base_patch16_224",
            image_size=0,
            channels=0,
            positions="sincos",
            pool="cls",
        ),
        views=Views(global_=photometric.MAE, mask=Mask(ratio=0.75, patch=16)),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(
            name="adamw", lr=1.5e-4, weight_decay=0.05, betas=(0.9, 0.95), warmup=40 / 1600
        ),
        train=Train(epochs=1600),
    )
