"""The recipe of fine-tuning, as settings."""

from dataclasses import dataclass
from typing import Literal

from manyviews.core import UsageError

_RANGES = {
    "blocks": (-1, 10_000),
    "epochs": (1, 10_000),
    "batch_size": (1, 10**6),
    "lr": (1e-9, 100),
    "layer_decay": (1e-3, 1),
    "weight_decay": (0, 10),
    "warmup": (0, 1),
    "mixup": (0, 1000),
    "cutmix": (0, 1000),
    "smoothing": (0, 0.99),
    "crop": (1e-4, 1),
    "flip": (0, 1),
    "seed": (0, 2**63),
}


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """How to fine-tune: AdamW, layer decay, warm-up and cosine, mixup, cutmix, smoothed labels.

    The defaults suit a small encoder and thumbnails on a CPU; `MAE_BASE` is the published recipe.
    Short trainings of small encoders may do better with mixup and cutmix 0.
    Left out of it: RandAugment and random erasing. Drop path is a property of the network: build
    it with `dataclasses.replace(config, drop_path=0.1)` and load the same weights.

    Attributes:
        blocks: the last blocks of a ViT, or stages of other networks, that train; -1 for the
            whole encoder, 0 for the classifier alone, 0.5 for the MLP of the last block.
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

    blocks: float = -1.0
    epochs: int = 20
    batch_size: int = 128
    lr: tuple[float, ...] = (2e-3,)
    layer_decay: float = 0.75
    weight_decay: float = 0.05
    warmup: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    smoothing: float = 0.1
    crop: float = 0.8
    flip: float = 0.5
    seed: int = 0

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


def check_finetune(settings: FineTune) -> None:
    """Refuse numbers that are out of range.

    Raises:
        UsageError: names the setting, its value and what was wanted.
    """
    for name, (low, high) in _RANGES.items():
        values = getattr(settings, name)
        for value in values if isinstance(values, tuple) else (values,):
            if not low <= value <= high:
                raise UsageError(
                    f"Fine-tuning got {name} {value:g}; wanted {low:g} to {high:g}. Change {name}."
                )
    if not settings.lr:
        raise UsageError("Fine-tuning got no learning rate. Give one or more in lr.")


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
