"""A linear probe on cached features: batch norm without affine, then one linear layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.result import check_split
from manyviews.evaluation.solver import CELLS, Solver, refuse_overflow

DECAYS = (1e-1, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)
"""Weight decays tried, the strongest first."""


@dataclass(frozen=True)
class Linear:
    """A fitted probe.

    Attributes:
        mean: [D], of the training features.
        scale: [D], one over their standard deviation.
        weight: [C, D], on standardised features.
        bias: [C].
        decay: the weight decay that it was fitted with.
        tried: decay -> accuracy on the held-out part of the training labels; empty when the decay
            was given.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    decay: float
    tried: dict[float, float]

    def __call__(self, features: Tensor) -> Tensor:
        """Class scores [N, C] of features [N, D]."""
        return F.linear((features.float() - self.mean) * self.scale, self.weight, self.bias)

    def predict(self, features: Tensor) -> Tensor:
        """Predicted class [N] int64 of features [N, D]."""
        rows = max(1, CELLS // max(features.shape[1], len(self.bias)))
        return torch.cat([self(part).argmax(dim=1) for part in features.split(rows)])


def linear_probe(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    *,
    decays: Sequence[float] = DECAYS,
    seed: int = 0,
    iterations: int = 100,
    held: Tensor | None = None,
) -> tuple[Tensor, Linear]:
    """Fit on the training features and predict the test features.

    Features are standardised with training statistics (a batch norm without affine, which makes
    the result independent of the features' scale: Marks et al. 2407.12210, MAE's linear probe).
    The weight decay is chosen on 10 % of the *training* labels, held out by class, then the probe
    is fitted again on all of them. Nothing is chosen on the test set.

    Args:
        train_x: [N, D] float.
        train_y: [N] int64, 0 or more.
        test_x: [Q, D] float.
        decays: L2 penalties (decay/2 times the squared weights, beside the mean cross entropy).
            One value is used as it is.
        seed: of the held-out part.
        iterations: most L-BFGS iterations of each fit.
        held: [N] bool, what the decay is chosen on instead: all of some images, where several rows
            are of one.

    Returns:
        Predictions [Q] int64 and the fitted probe.

    Raises:
        UsageError: features or labels that cannot be used; no decay, or a negative one.
    """
    check_split(train_x, train_y, test_x)
    if not decays or min(decays) < 0:
        raise UsageError(f"The linear probe got decays {list(decays)}; wanted one or more, >= 0.")
    x, y = train_x.float(), train_y.to(train_x.device)
    mean, scale = standardiser(x)
    x = (x - mean) * scale
    tried: dict[float, float] = {}
    decay, start, like = decays[0], None, None
    if len(decays) > 1:
        decay, tried, start, like = choose(
            x, y, decays=decays, seed=seed, iterations=iterations, held=held
        )
    solver = Solver(x, y, classes=int(y.max()) + 1, iterations=iterations, like=like)
    weight, bias = solver.fit(decay, start)
    probe = Linear(mean, scale, weight, bias, decay, tried)
    return probe.predict(test_x), probe


def hold_out(labels: Tensor, *, share: float, seed: int) -> Tensor:
    """Mask [N] bool on the labels' device of a random `share` of every class, rounded.

    A class always keeps an example on the False side.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels.cpu()[order]
    order = order[shuffled.argsort(stable=True)]
    mask = torch.zeros(len(labels), dtype=torch.bool)
    start = 0
    for count in shuffled.unique(return_counts=True)[1].tolist():
        mask[order[start : start + min(count - 1, round(share * count))]] = True
        start += count
    return mask.to(labels.device)


def standardiser(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and one over the standard deviation [D] of features [N, D].

    Raises:
        UsageError: numbers whose squares float32 cannot hold.
    """
    refuse_overflow(x)
    variance, mean = torch.var_mean(x.double() if len(x) * x.shape[1] < CELLS else x, dim=0)
    # relative to the features' own scale, so that multiplying them all changes nothing
    floor = 1e-6 * variance.mean() + torch.finfo(torch.float32).tiny
    return mean.float(), (variance + floor).rsqrt().float()


def choose(
    x: Tensor,
    y: Tensor,
    *,
    decays: Sequence[float],
    seed: int,
    iterations: int,
    patience: int = 2,
    held: Tensor | None = None,
) -> tuple[float, dict[float, float], tuple[Tensor, Tensor], Solver]:
    """The decay with the best accuracy on held-out labels (ties: lowest held-out loss).

    From strong to weak, each fit starting from the last; stops after `patience` falls in a row.

    Args:
        x: [N, D] features, about centred.
        y: [N] int64 classes.
        decays: to try.
        seed: of the held-out tenth.
        iterations: most of each fit.
        patience: worse decays in a row before the rest is left.
        held: [N] bool, what is held out instead of a tenth of each class.

    Returns:
        The decay, decay -> held-out accuracy, its weight and bias, and the solver.
    """
    held = hold_out(y, share=0.1, seed=seed) if held is None else held
    if not held.any() or held.all():
        held = torch.ones_like(held)  # too few labels to spare any: judge on the fitted ones
        fit_x, fit_y = x, y
    else:
        fit_x, fit_y = x[~held], y[~held]
    held_x, held_y = x[held], y[held]
    solver = Solver(fit_x, fit_y, classes=int(y.max()) + 1, iterations=iterations)
    tried: dict[float, float] = {}
    best, chosen, kept, start, falls = (-1.0, -math.inf), decays[0], None, None, 0
    for decay in sorted(decays, reverse=True):
        first = start is None
        start = solver.fit(decay, start, tolerance=1e-4)
        if first:
            solver.sharpen(*start)
        logits = F.linear(held_x, *start)
        tried[decay] = float((logits.argmax(dim=1) == held_y).float().mean())
        score = (tried[decay], -float(F.cross_entropy(logits, held_y)))
        if score > best:
            best, chosen, kept, falls = score, decay, start, 0
            continue
        falls += 1
        if falls == patience:
            break
    assert kept is not None  # the first score always beats -1
    return chosen, tried, kept, solver
