"""Regression of the values of hidden patches."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import wide
from manyviews.losses.precision import full_precision

EPSILON = 1e-6
"""Added to a patch's variance (facebookresearch/mae models_mae.py)."""


@full_precision
def normalise_patches(patches: Tensor, *, channels: int = 1) -> Tensor:
    """Each patch [..., P] less its mean over its deviation; unbiased variance, float32.

    Args:
        patches: their channels innermost.
        channels: that are normalised each by itself; 1 for all values of a patch together.

    Source: He et al. 2022 (MAE), section 3, "Reconstruction target". By channels:
    MCG-NJU/VideoMAE engine_for_pretraining.py, which adds 1e-6 to the deviation.
    """
    mean, deviation = patch_statistics(patches, channels=channels)
    return (patches - mean) / deviation


@full_precision
def patch_statistics(patches: Tensor, *, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Mean and deviation sqrt(variance + 1e-6) of each patch [..., P] -> two of [..., 1].

    With channels, which lie innermost, of each of them: two of [..., P].
    """
    if channels == 1:
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return mean, (variance + EPSILON).sqrt()
    apart = patches.unflatten(-1, (-1, channels))
    variance, mean = torch.var_mean(apart, dim=-2, keepdim=True)
    deviation = (variance + EPSILON).sqrt()
    return mean.expand_as(apart).flatten(-2), deviation.expand_as(apart).flatten(-2)


@full_precision
def masked_mse(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over hidden patches only.

    Args:
        prediction: [B, N, P].
        target: [B, N, P].
        hidden: [B, N] bool, as many True in each row.

    Returns:
        Scalar, float32 (float64 if prediction is), even under autocast.

    Source: He et al. 2022 (MAE), section 3; facebookresearch/mae models_mae.py.
    """
    error = (prediction - target).square().mean(dim=-1)
    return (error * hidden).sum() / hidden.sum()


@full_precision
def masked_l1(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean absolute error over hidden patches only; arguments and result as of `masked_mse`.

    Source: Xie et al. 2022 (SimMIM), equation 2; microsoft/SimMIM models/simmim.py, which adds
    1e-5 to the number of hidden pixels.
    """
    error = (prediction - target).abs().mean(dim=-1)
    return (error * hidden).sum() / hidden.sum()


@full_precision
def masked_smooth_l1(
    prediction: Tensor, target: Tensor, hidden: Tensor, *, beta: float = 1.0
) -> Tensor:
    """Mean Huber error over beta of hidden patches only; the rest as of `masked_mse`.

    d^2 / (2 beta) for differences |d| below beta, |d| - beta / 2 above.

    Source: Baevski et al. 2022 (data2vec), section 3.4.
    """
    error = F.smooth_l1_loss(prediction, target, beta=beta, reduction="none").mean(dim=-1)
    return (error * hidden).sum() / hidden.sum()


@full_precision
def blockwise_smooth_l1(prediction: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Huber error of tokens: the mean of each block, then of blocks, which count the same.

    Args:
        prediction: [B, M, T, D], T tokens of M blocks.
        target: [B, M, T, D]; no gradient flows to it.
        present: [B, M, T] bool, at least one True of each block; the others do not count.

    Returns:
        Scalar, float32 (float64 if prediction is), even under autocast.

    Source: Assran et al. 2023 (I-JEPA), section 3; facebookresearch/ijepa src/train.py, of which
    it is the `smooth_l1_loss` where all blocks have one size.
    """
    return _blockwise(F.smooth_l1_loss(prediction, target.detach(), reduction="none"), present)


@full_precision
def blockwise_l1(prediction: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """Absolute error of tokens; arguments and result as of `blockwise_smooth_l1`.

    Source: Bardes et al. 2024 (V-JEPA), section 3.1; facebookresearch/jepa app/vjepa/train.py.
    """
    return _blockwise((prediction - target.detach()).abs(), present)


def _blockwise(error: Tensor, present: Tensor) -> Tensor:
    """The mean of errors [B, M, T, D] over each block, then over blocks."""
    each = error.mean(dim=-1)
    return ((each * present).sum(dim=-1) / present.sum(dim=-1)).mean()


@full_precision
def pixel_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of images [B, C, H, W]; scalar, float32 even under autocast."""
    return (prediction - target).square().mean()


@full_precision
def pixel_smooth_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean Huber error (beta 1) of images [B, C, H, W]; scalar, float32 even under autocast."""
    return F.smooth_l1_loss(prediction, target)


@torch.no_grad()
def error_of_a_guess(
    error: Callable[[Tensor, Tensor, Tensor], Tensor], target: Tensor, hidden: Tensor
) -> Tensor:
    """What the mean of all hidden patches costs, the best answer that looks at no image.

    Args:
        error: of predictions, targets and what is hidden, as `masked_mse`.
        target: [B, N, P], of this rank.
        hidden: [B, N] bool.

    Returns:
        Scalar, as `error` gives it.
    """
    mean = wide(target)[hidden].mean(dim=0)
    return error(mean.expand(target.shape), wide(target), hidden)


@torch.no_grad()
def prediction_std(prediction: Tensor, hidden: Tensor) -> Tensor:
    """Standard deviation across images of what is predicted at each hidden place, averaged.

    0 when every image gets the same prediction. Over this rank's images.

    Args:
        prediction: [B, N, P].
        hidden: [B, N] bool; a place counts for the images that hide it.

    Returns:
        Scalar float32.
    """
    values = wide(prediction.detach())
    weight = hidden[..., None].to(values.dtype)
    count = weight.sum(dim=0)  # [N, 1]
    mean = (values * weight).sum(dim=0) / count.clamp(min=1)
    variance = ((values - mean).square() * weight).sum(dim=0) / count.clamp(min=1)
    several = (count > 1).to(values.dtype)
    return (variance.sqrt().mean(dim=1, keepdim=True) * several).sum() / several.sum().clamp(min=1)
