"""Mixup and cutmix: two images become one, and so do their labels."""

import math

import numpy as np
import torch
from torch import Tensor


def soft(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Smoothed one-hot targets [B, classes] float32 of labels [B] int64.

    The right class has 1 - s + s/K, each other s/K (Szegedy et al. 2016, section 7).
    """
    off = smoothing / classes
    out = torch.full((len(labels), classes), off, device=labels.device)
    return out.scatter_(1, labels[:, None], 1 - smoothing + off)


def mix(
    images: Tensor, targets: Tensor, *, mixup: float, cutmix: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with one other; one share and one box for the whole batch.

    The first goes with the last, as in timm's `Mixup` in batch mode, which MAE uses. Where both
    kinds are on, each has half of the batches.

    Args:
        images: [B, C, H, W] float.
        targets: [B, K] float.
        mixup: alpha of the beta distribution of the share (Zhang et al. 2018); 0 for none.
        cutmix: likewise of the share of the area (Yun et al. 2019, equations 1 and 2); a box that
            leaves the image is cut, and the share is that of what is left. 0 for none.
        rng: decides kind, share and box.

    Returns:
        Images and targets of the same shapes.
    """
    if not (mixup or cutmix):
        return images, targets
    cut = bool(rng.random() < 0.5) if mixup and cutmix else bool(cutmix)
    share = float(rng.beta(cutmix, cutmix) if cut else rng.beta(mixup, mixup))
    others = images.flip(0)
    if cut:
        images, share = _paste(images, others, share, rng)
    else:
        images = share * images + (1 - share) * others
    return images, share * targets + (1 - share) * targets.flip(0)


def _paste(
    images: Tensor, others: Tensor, share: float, rng: np.random.Generator
) -> tuple[Tensor, float]:
    height, width = images.shape[2:]
    half = math.sqrt(1 - share) / 2
    y, x = rng.random() * height, rng.random() * width
    top, bottom = (round(min(height, max(0.0, y + s * half * height))) for s in (-1, 1))
    left, right = (round(min(width, max(0.0, x + s * half * width))) for s in (-1, 1))
    images = images.clone()
    images[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return images, 1 - (bottom - top) * (right - left) / (height * width)
