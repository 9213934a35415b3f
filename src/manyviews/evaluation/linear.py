"""A linear probe on cached features: batch norm without affine, then one linear layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import UsageError
from manyviews.evaluation.result import check_split

DECAYS = (1e-1, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)
"""Weight decays tried, the strongest first."""

_CELLS = 2**25  # features or logits handled at a time: 128 MB


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
        rows = max(1, _CELLS // max(features.shape[1], len(self.bias)))
        return torch.cat([self(part).argmax(dim=1) for part in features.split(rows)])


def linear_probe(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    *,
    decays: Sequence[float] = DECAYS,
    seed: int = 0,
    iterations: int = 100,
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

    Returns:
        Predictions [Q] int64 and the fitted probe.

    Raises:
        UsageError: features or labels that cannot be used; no decay, or a negative one.
    """
    check_split(train_x, train_y, test_x, train_y.new_zeros(len(test_x)))
    if not decays or min(decays) < 0:
        raise UsageError(f"The linear probe got decays {list(decays)}; wanted one or more, >= 0.")
    x, y = train_x.float(), train_y.to(train_x.device)
    mean, scale = _standardiser(x)
    x = (x - mean) * scale
    tried: dict[float, float] = {}
    decay, start = decays[0], None
    if len(decays) > 1:
        decay, tried, start = _choose(x, y, decays=decays, seed=seed, iterations=iterations)
    solver = _Solver(x, y, classes=int(y.max()) + 1, iterations=iterations)
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


def _standardiser(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x.double() if len(x) * x.shape[1] < _CELLS else x, dim=0)
    # relative to the features' own scale, so that multiplying them all changes nothing
    floor = 1e-6 * variance.mean() + torch.finfo(torch.float32).tiny
    return mean.float(), (variance + floor).rsqrt().float()


def _choose(
    x: Tensor, y: Tensor, *, decays: Sequence[float], seed: int, iterations: int
) -> tuple[float, dict[float, float], tuple[Tensor, Tensor]]:
    """The decay with the best held-out accuracy (ties: lowest held-out loss), and its weights.

    From strong to weak, each fit starting from the last; stops after two falls in a row.
    """
    held = hold_out(y, share=0.1, seed=seed)
    if not held.any():
        held = torch.ones_like(held)  # too few labels to spare any: judge on the fitted ones
        fit_x, fit_y = x, y
    else:
        fit_x, fit_y = x[~held], y[~held]
    solver = _Solver(fit_x, fit_y, classes=int(y.max()) + 1, iterations=iterations)
    tried: dict[float, float] = {}
    best, chosen, kept, start, falls = (-1.0, -math.inf), decays[0], None, None, 0
    for decay in sorted(decays, reverse=True):
        start = solver.fit(decay, start)
        logits = F.linear(x[held], *start)
        tried[decay] = float((logits.argmax(dim=1) == y[held]).float().mean())
        score = (tried[decay], -float(F.cross_entropy(logits, y[held])))
        if score > best:
            best, chosen, kept, falls = score, decay, start, 0
            continue
        falls += 1
        if falls == 2:
            break
    assert kept is not None  # the first score always beats -1
    return chosen, tried, kept


class _Solver:
    """Minimises mean cross entropy + decay/2 * |weight|^2 by full-batch L-BFGS.

    The weights are sought as v P with P = (a * covariance + decay)^(-1/2), near the inverse root
    of the objective's Hessian: several times fewer iterations on correlated features. a stands
    for the mean of p (1 - p) over the classes' probabilities; it matters little.
    """

    def __init__(self, x: Tensor, y: Tensor, *, classes: int, iterations: int) -> None:
        self.x, self.y, self.classes, self.iterations = x, y, classes, iterations
        values, self.vectors = torch.linalg.eigh((x.T @ x / len(x)).double())
        self.values = values.clamp_min(0)

    def fit(self, decay: float, start: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Weight [C, D] and bias [C], sought from `start` (zeros without one)."""
        curvature = 0.05 * self.values + decay + 1e-6 * self.values.mean()
        root = (self.vectors * curvature.rsqrt()) @ self.vectors.T
        root = root.to(self.x.dtype)
        sought = nn.Parameter(self.x.new_zeros(self.classes, self.x.shape[1]))
        bias = nn.Parameter(self.x.new_zeros(self.classes))
        if start is not None:
            inverse = (self.vectors * curvature.sqrt()) @ self.vectors.T
            sought.data.copy_(start[0] @ inverse.to(self.x.dtype))
            bias.data.copy_(start[1])
        solver = torch.optim.LBFGS(
            [sought, bias],
            max_iter=self.iterations,
            history_size=10,
            tolerance_grad=1e-4,
            tolerance_change=1e-5,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            weight = sought.detach() @ root
            loss, grad, bias.grad = _loss(self.x, self.y, weight, bias.detach(), decay)
            sought.grad = grad @ root
            return loss

        solver.step(closure)  # pyright: ignore[reportArgumentType] - torch's stub wants a float
        return sought.detach() @ root, bias.detach()


def _loss(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Objective and its gradients by hand, over parts of the rows to bound memory."""
    loss = 0.5 * decay * weight.square().sum()
    weight_grad, bias_grad = decay * weight, torch.zeros_like(bias)
    rows = max(1, _CELLS // len(bias))
    for part, labels in zip(x.split(rows), y.split(rows), strict=True):
        logp = F.linear(part, weight, bias).log_softmax(dim=1)
        loss = loss + F.nll_loss(logp, labels, reduction="sum") / len(x)
        residual = logp.exp_()
        residual[torch.arange(len(part), device=x.device), labels] -= 1
        residual /= len(x)
        weight_grad.addmm_(residual.T, part)
        bias_grad += residual.sum(dim=0)
    return loss, weight_grad, bias_grad
