"""The linear probes of the authors' own scripts, by SGD or LARS on cached features."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import Failure
from manyviews.evaluation.linear import hold_out
from manyviews.evaluation.solver import CELLS

DINOV2_RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)
"""Learning rates for 256 images a step: facebookresearch/dinov2 dinov2/eval/linear.py."""

MAE_BATCH = 16384
"""512 on each of 32 GPUs: facebookresearch/mae FINETUNE.md."""

_Batches = Iterable[tuple[Tensor, float]]
"""Rows [B] int64 of each step, and the factor on the learning rate."""


@dataclass(frozen=True)
class Heads:
    """Linear classifiers that were trained side by side on the same batches.

    Attributes:
        weight: [H, C, D], on standardised features.
        bias: [H, C].
        mean: [D] taken from the features first, or a single 0.
        scale: [D] they are then multiplied by, or a single 1.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor

    def predict(self, features: Tensor) -> Tensor:
        """Class [H, N] int64 of features [N, D]."""
        heads, classes, width = self.weight.shape
        rows = max(1, CELLS // max(width, heads * classes))
        flat, bias = self.weight.flatten(0, 1), self.bias.flatten()
        parts = [
            F.linear((x.float() - self.mean) * self.scale, flat, bias)
            .unflatten(1, (heads, classes))
            .argmax(dim=2)
            for x in features.split(rows)
        ]
        return torch.cat(parts).T


def train_heads(
    x: Tensor,
    y: Tensor,
    batches: _Batches,
    *,
    lrs: Sequence[float],
    start: Tensor,
    lars: bool = False,
    norm: bool = False,
) -> Heads:
    """Cross entropy by SGD with momentum 0.9 and no decay; one head for each learning rate.

    Args:
        x: [N, D] float32.
        y: [N] int64, below C.
        batches: the steps.
        lrs: H learning rates.
        start: [C, D], the weight that every head begins with; the bias begins at 0.
        lars: scale each weight's gradient by 0.001 * |weight| / |gradient|, where both are above
            0; biases stay as they are (facebookresearch/mae util/lars.py).
        norm: batch norm without affine before the heads, eps 1e-6 and momentum 0.1: statistics of
            the batch while training, running ones for `predict`.
    """
    rate = torch.tensor(lrs, dtype=x.dtype, device=x.device)
    weight = start.to(x).repeat(len(lrs), 1, 1)
    bias = x.new_zeros(len(lrs), len(start))
    momenta = torch.zeros_like(weight), torch.zeros_like(bias)
    mean, variance = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
    for rows, factor in batches:
        part = x[rows]
        if norm:
            spread, middle = torch.var_mean(part, dim=0, correction=0)
            part = (part - middle) * (spread + 1e-6).rsqrt()
            mean.lerp_(middle, 0.1)
            variance.lerp_(spread * (len(part) / (len(part) - 1)), 0.1)
        grads = _gradients(part, y[rows], weight, bias)
        if lars:
            grads = _trust(weight, grads[0]), grads[1]
        for value, grad, momentum in zip((weight, bias), grads, momenta, strict=True):
            momentum.mul_(0.9).add_(grad)
            value.addcmul_(momentum, rate.view(-1, *[1] * (value.ndim - 1)), value=-factor)
    if norm:
        return Heads(weight, bias, mean, (variance + 1e-6).rsqrt())
    return Heads(weight, bias, x.new_zeros(1), x.new_ones(1))


def passes(
    n: int, *, batch: int, epochs: int, whole: bool, generator: torch.Generator
) -> Iterator[tuple[float, Tensor]]:
    """Shuffled epochs: (epochs done, a fraction within an epoch; rows [B] int64) of each step.

    Args:
        n: rows in all.
        batch: of each step.
        epochs: passes over the rows.
        whole: leave an epoch's last, smaller batch out.
        generator: of the order, on the CPU.
    """
    for epoch in range(epochs):
        parts = torch.randperm(n, generator=generator).split(batch)
        if whole and len(parts[-1]) < batch:
            parts = parts[:-1]
        for i, rows in enumerate(parts):
            yield epoch + i / len(parts), rows


def moco(x: Tensor, y: Tensor, *, classes: int, seed: int = 0, epochs: int = 100) -> Heads:
    """MoCo's linear classifier: lr 30, batches of 256, a tenth after 60 % and 80 % of 100 epochs.

    Source: facebookresearch/moco main_lincls.py (weight N(0, 0.01), momentum 0.9, no decay).

    Args:
        x: [N, D] float, as the encoder gives them: nothing is normalised.
        y: [N] int64.
        classes: C.
        seed: of the first weights and of the order.
        epochs: 100 in the source.
    """
    generator = torch.Generator().manual_seed(seed)
    start = _normal(classes, x.shape[1], generator)
    steps = passes(len(x), batch=256, epochs=epochs, whole=False, generator=generator)
    batches = (
        (rows, 0.1 ** ((epoch >= 0.6 * epochs) + (epoch >= 0.8 * epochs))) for epoch, rows in steps
    )
    return train_heads(x.float(), y, _to(batches, x), lrs=(30.0,), start=start)


def dino(x: Tensor, y: Tensor, *, classes: int, seed: int = 0, epochs: int = 100) -> Heads:
    """DINO's: lr 0.001 for each 256 of a batch of 1024, falling to 0 by a cosine each epoch.

    Source: facebookresearch/dino eval_linear.py on the README's 8 GPUs (weight N(0, 0.01),
    momentum 0.9, no decay, 100 epochs).

    Args:
        x: [N, D] float, as the encoder gives them. With fewer than 1024 all make one batch.
        y: [N] int64.
        classes: C.
        seed: of the first weights and of the order.
        epochs: 100 in the source.
    """
    generator = torch.Generator().manual_seed(seed)
    start = _normal(classes, x.shape[1], generator)
    batch = min(1024, len(x))
    steps = passes(len(x), batch=batch, epochs=epochs, whole=False, generator=generator)
    batches = ((rows, _cosine(math.floor(epoch) / epochs)) for epoch, rows in steps)
    return train_heads(x.float(), y, _to(batches, x), lrs=(0.001 * batch / 256,), start=start)


def mae(x: Tensor, y: Tensor, *, classes: int, seed: int = 0, epochs: int = 90) -> Heads:
    """MAE's: batch norm without affine, LARS with lr 0.1 for each 256 of a batch of 16,384.

    The rate rises over the first 10 of 90 epochs, then falls to 0 by a cosine, each step.
    Source: facebookresearch/mae main_linprobe.py and FINETUNE.md (weight truncated N(0, 0.01),
    no decay, the last smaller batch left out).

    Args:
        x: [N, D] float. With fewer than 16,384 all make one batch, and the rate is less.
        y: [N] int64.
        classes: C.
        seed: of the first weights and of the order.
        epochs: 90 in the source, 50 for ViT-L and ViT-H.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.nn.init.trunc_normal_(
        torch.empty(classes, x.shape[1]), std=0.01, generator=generator
    )
    batch, warm = min(MAE_BATCH, len(x)), min(10, epochs // 2)
    steps = passes(len(x), batch=batch, epochs=epochs, whole=True, generator=generator)
    batches = (
        (rows, epoch / warm if epoch < warm else _cosine((epoch - warm) / (epochs - warm)))
        for epoch, rows in steps
    )
    rate = 0.1 * batch / 256
    return train_heads(
        x.float(), y, _to(batches, x), lrs=(rate,), start=start, lars=True, norm=True
    )


def dinov2(
    x: Tensor,
    y: Tensor,
    *,
    classes: int,
    rates: Sequence[float] = DINOV2_RATES,
    seed: int = 0,
    steps: int = 12_500,
) -> Heads:
    """DINOv2's grid: a head for each learning rate, all in one pass of 12,500 batches of 128.

    Source: facebookresearch/dinov2 dinov2/eval/linear.py on one GPU (weight N(0, 0.01), momentum
    0.9, no decay; rates for 256 images, falling to 0 by a cosine each step).

    Args:
        x: [N, D] float, as the encoder gives them.
        y: [N] int64.
        classes: C.
        rates: of the H heads, for 256 images.
        seed: of the first weights (the heads share them) and of the order.
        steps: 12,500 in the source.
    """
    generator = torch.Generator().manual_seed(seed)
    start = _normal(classes, x.shape[1], generator)
    batch = min(128, len(x))
    epochs = math.ceil(steps / (len(x) // batch))
    order = passes(len(x), batch=batch, epochs=epochs, whole=True, generator=generator)
    batches = (
        (rows, _cosine(step / steps)) for step, (_, rows) in zip(range(steps), order, strict=False)
    )
    lrs = [rate * batch / 256 for rate in rates]
    return train_heads(x.float(), y, _to(batches, x), lrs=lrs, start=start)


def choose_rate(
    x: Tensor, y: Tensor, *, classes: int, seed: int = 0, steps: int = 12_500
) -> tuple[float, dict[float, float]]:
    """The rate of `dinov2`'s grid that is best on 10 % of the training labels, held out by class.

    Returns:
        The rate for 256 images, and rate -> held-out accuracy. Of equals the smallest.
    """
    held = hold_out(y, share=0.1, seed=seed)
    fit = ~held
    judged = held if held.any() else fit  # too few labels to spare any
    heads = dinov2(x[fit], y[fit], classes=classes, seed=seed, steps=steps)
    right = (heads.predict(x[judged]) == y[judged]).float().mean(dim=1)
    finite = heads.weight.flatten(1).isfinite().all(dim=1)
    right = torch.where(finite, right, -1.0)
    tried = dict(zip(DINOV2_RATES, right.tolist(), strict=True))
    return max(tried, key=tried.__getitem__), tried


def check_finite(name: str, heads: Heads, x: Tensor) -> None:
    """Refuse a probe that diverged.

    Raises:
        Failure: a weight is NaN or infinite.
    """
    if not heads.weight.isfinite().all():
        raise Failure(
            f"The protocol {name} diverged: its learning rate is made for features of another "
            f"scale than these, whose mean square is {float(x.float().square().mean()):.3g}. Use "
            "the protocol linear, which does not depend on the scale."
        )


def _gradients(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Of the mean cross entropy of each head: [H, C, D] and [H, C]."""
    scores = torch.addmm(bias.flatten(), x, weight.flatten(0, 1).T).unflatten(1, bias.shape)
    residual = scores.softmax(dim=2)
    residual.sub_(F.one_hot(y, bias.shape[1])[:, None]).div_(len(x))
    return (residual.flatten(1).T @ x).view_as(weight), residual.sum(dim=0)


def _trust(weight: Tensor, grad: Tensor) -> Tensor:
    """LARS's direction of each head's weight [H, C, D]; no decay."""
    weights, norms = weight.flatten(1).norm(dim=1), grad.flatten(1).norm(dim=1)
    ratio = torch.where((weights > 0) & (norms > 0), 0.001 * weights / norms, 1.0)
    return grad * ratio[:, None, None]


def _normal(classes: int, width: int, generator: torch.Generator) -> Tensor:
    return 0.01 * torch.randn(classes, width, generator=generator)


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _to(batches: _Batches, x: Tensor) -> _Batches:
    return ((rows.to(x.device), factor) for rows, factor in batches)
