"""The recipe of fine-tuning, as settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from manyviews.core.ranges import Count, NotNegative, Positive, Probability, Range, Seed, Share


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """How to fine-tune: AdamW, layer decay, warm-up and cosine, mixup, cutmix, smoothed labels.

    The defaults suit a small encoder and thumbnails on a CPU; `MAE_BASE` is the published recipe.
    Short trainings of small encoders may do better with mixup and cutmix 0.
    Left out of it: RandAugment and random erasing. Drop path is a property of the network: build
    it with `dataclasses.replace(config, drop_path=0.1)` and load the same weights.

    Attributes:
        blocks: the last blocks that train; -1 for the whole encoder, 0 for the classifier
            alone, 0.5 for the MLP of a transformer's last block.
        epochs: passes over the training images.
        batch_size: images a step; never more than there are.
        lr: peak learning rates for 256 images a step. Of several the one is taken that is most
            accurate on 10 % of the training labels, held out by class; then all are learnt from.
        layer_decay: factor on the learning rate for each layer further from the output.
        weight_decay: of matrices.
        warmup: share of the steps over which the learning rate rises.
        mixup: alpha; 0 for none.
        cutmix: alpha; 0 for none.
        smoothing: of labels, in [0, 1].
        crop: least area of the random crop, as a share of the image. Thumbnails are tested whole
            and bear little cropping.
        flip: probability of a horizontal flip.
        seed: of everything random.
    """

    blocks: Annotated[float, Range("a number of blocks, 0.5, or -1 for all", 0, off=-1)] = -1.0
    epochs: Count = 20
    batch_size: Count = 128
    lr: tuple[Positive, ...] = (2e-3,)
    layer_decay: Annotated[float, Range("above 0 and up to 1", 0, 1, above=True)] = 0.75
    weight_decay: NotNegative = 0.05
    warmup: Share = 0.1
    mixup: NotNegative = 0.8
    cutmix: NotNegative = 1.0
    smoothing: Annotated[float, Range("at least 0 and below 1", 0, 1, below=True)] = 0.1
    crop: Annotated[float, Range("a share above 0", 0, 1, above=True)] = 0.8
    flip: Probability = 0.5
    seed: Seed = 0

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """What numbers have to be that no range alone can say; see `core.settings.check`."""
        if not self.lr:
            yield "lr", self.lr, "a learning rate, or several to choose from"

    def size(self, images: int) -> int:
        """Images a step, of so many."""
        return min(self.batch_size, images)

    def steps(self, images: int) -> int:
        """Steps in all; an epoch's last, smaller batch is left out."""
        return self.epochs * (images // self.size(images))


MAE_BASE = FineTune(
    epochs=100, batch_size=1024, lr=(5e-4,), layer_decay=0.65, warmup=0.05, crop=0.08
)
"""ViT-B on ImageNet with drop path 0.1: facebookresearch/mae FINETUNE.md (83.6 %). ViT-L and H
have 50 epochs, a learning rate of 1e-3, a layer decay of 0.75 and drop path 0.2 and 0.3."""


IMAGE_PROTOCOLS = {
    "finetune": "Train the whole encoder, or its last blocks, on the labels; AdamW as MAE does.",
    "robustness": "A probe of clean features on 15 corruptions at five severities.",
}
"""Protocols that need images, by name, each with a line about it."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """What is tried of `evaluation.image.robustness.robustness`.

    Attributes:
        probe: what is fitted to clean training features.
        corruptions: their names; all 15 where it is empty.
        severities: 1 to 5.
        limit: test images at most, evenly spread; 0 for all.
    """

    probe: Literal["knn", "linear"] = "knn"
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    limit: int = 500
