"""How well the mask of one object in one frame was found: its region, and its contour."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BOUND = 0.008
"""How far a contour may be off, as a share of the image's diagonal (DAVIS)."""


def region(found: Tensor, there: Tensor, known: Tensor) -> float:
    """J: intersection over union of two masks [H, W] bool; 1 where both are empty.

    Args:
        found: the mask in question.
        there: the right one.
        known: pixels that count.
    """
    union = ((found | there) & known).sum()
    return float((found & there & known).sum() / union) if union else 1.0


def contour(found: Tensor, there: Tensor, known: Tensor) -> float:
    """F: of contours of two masks [H, W] bool, the harmonic mean of precision and recall.

    A pixel of one contour is right where the other has one no further off than a disk of `BOUND`
    times the diagonal, rounded up. 1 where both are empty, 0 where one is.

    Source: Perazzi et al., "A benchmark dataset and evaluation methodology for video object
    segmentation" (CVPR 2016); davisvideochallenge/davis2017-evaluation@30b698a metrics.py.
    """
    mine, right = (_edge(mask & known) for mask in (found, there))
    if not mine.any() or not right.any():
        return float(mine.any() == right.any())
    radius = math.ceil(BOUND * math.hypot(*found.shape))
    precision = float((mine & _wider(right, radius)).sum() / mine.sum())
    recall = float((right & _wider(mine, radius)).sum() / right.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _edge(mask: Tensor) -> Tensor:
    """[H, W] bool: pixels that differ from the next to the right, below, or both."""
    edge = torch.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def _wider(edge: Tensor, radius: int) -> Tensor:
    """[H, W] bool: pixels within a disk of `radius` around one of the edge."""
    steps = torch.arange(-radius, radius + 1)
    disk = (steps.square()[:, None] + steps.square() <= radius**2).float()
    return F.conv2d(edge[None, None].float(), disk[None, None], padding=radius)[0, 0] > 0.5
