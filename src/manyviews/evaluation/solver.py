"""Regularised logistic models by full-batch L-BFGS: one class of many, or many yes-or-no labels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import UsageError

CELLS = 2**25
"""Features or scores handled at a time: 128 MB."""

_LARGEST = 1e18  # squares of larger numbers come near the end of float32
_CACHED = 2**19  # features in one part of the rows on a CPU: read from memory once, not twice
_SAMPLE = 8192  # rows that the curvature is estimated on

_Partition = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Scores [N, C] -> log-partition [] summed over all rows (float64), and its gradient [N, C]."""


def softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Of one class out of C: sum of log sum exp, and the probabilities."""
    total = scores.logsumexp(dim=1)
    return total.double().sum(), scores.sub_(total[:, None]).exp_()


def sigmoid(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Of C independent labels: sum of log(1 + exp), and the probabilities."""
    return F.softplus(scores).double().sum(), scores.sigmoid_()


def refuse_overflow(x: Tensor) -> None:
    """Refuse features [N, D] that cannot be squared.

    Raises:
        UsageError: numbers whose squares float32 cannot hold.
    """
    largest = float(x.abs().max())
    if largest > _LARGEST:
        raise UsageError(
            f"The training features go up to {largest:.1e}; wanted at most {_LARGEST:.0e}. Divide "
            "them all by one number."
        )


class Solver:
    """Minimises mean(A(s) - <y, s>) + decay / 2 * |weight|^2 over weight and bias; s = x w + b.

    A is the log-partition: with `softmax` this is the mean cross entropy, with `sigmoid` the sum
    over labels of the mean binary cross entropy. The bias is not decayed.

    The weights are sought as v P with P = (curvature + decay)^(-1/2), near the inverse root of the
    objective's Hessian: several times fewer iterations on correlated features. With fewer rows
    than columns all happens in the span of the rows, where the solution lies; the result is the
    same.

    Args:
        x: [N, D] float32, about centred.
        y: [N] int64 classes, or [N, C] of 0 and 1.
        classes: C.
        partition: `softmax` or `sigmoid`.
        iterations: most of one fit, unless it says otherwise.
        like: another solver whose estimate of the curvature is taken over.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        classes: int,
        partition: _Partition = softmax,
        iterations: int = 100,
        like: "Solver | None" = None,
    ) -> None:
        refuse_overflow(x)
        self.partition, self.iterations = partition, iterations
        self.basis: Tensor | None = None
        if len(x) < x.shape[1]:
            self.basis, triangle = torch.linalg.qr(x.T)
            x = triangle.T
        self.x = x
        # A's gradient is all that changes; the labels' part is the same for every weight
        if y.ndim == 1:
            self.label_grad = x.new_zeros(classes, x.shape[1]).index_add_(0, y, x) / len(x)
            self.label_share = torch.bincount(y, minlength=classes).to(x.dtype) / len(x)
        else:
            self.label_grad = y.to(x.dtype).T @ x / len(x)
            self.label_share = y.to(x.dtype).mean(dim=0)
        if like is not None and like.basis is None and self.basis is None:
            self.values, self.vectors = like.values, like.vectors
        else:
            self._bend(x[:: max(1, len(x) // _SAMPLE)], 0.05)

    def fit(
        self,
        decay: float,
        start: tuple[Tensor, Tensor] | None = None,
        *,
        tolerance: float = 3e-5,
        iterations: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Weight [C, D] and bias [C], sought from `start` (zeros without one).

        Args:
            decay: 0 or more.
            start: a weight and a bias to begin from.
            tolerance: the fit ends when the objective falls by less in an iteration.
            iterations: most of this fit.
        """
        curvature = self.values + decay
        root = self._power(curvature.rsqrt())
        sought = nn.Parameter(torch.zeros_like(self.label_grad))
        bias = nn.Parameter(torch.zeros_like(self.label_share))
        if start is not None:
            weight = start[0] if self.basis is None else start[0] @ self.basis
            sought.data.copy_(weight @ self._power(curvature.sqrt()))
            bias.data.copy_(start[1])
        solver = torch.optim.LBFGS(
            [sought, bias],
            max_iter=iterations or self.iterations,
            history_size=10,
            tolerance_grad=min(1e-4, 10 * tolerance),
            tolerance_change=tolerance,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            loss, grad, bias.grad = self.loss(sought.detach() @ root, bias.detach(), decay)
            sought.grad = grad @ root
            return loss

        solver.step(closure)  # pyright: ignore[reportArgumentType] - torch's stub wants a float
        weight = sought.detach() @ root
        return weight if self.basis is None else weight @ self.basis.T, bias.detach()

    def loss(self, weight: Tensor, bias: Tensor, decay: float) -> tuple[Tensor, Tensor, Tensor]:
        """The objective and its gradients; weight [C, D] in the solver's own basis."""
        penalty = 0.5 * decay * weight.square().sum() - (weight * self.label_grad).sum()
        loss = (penalty - bias @ self.label_share).double()
        weight_grad, bias_grad = torch.zeros_like(weight), torch.zeros_like(bias)
        cells = CELLS if self.x.is_cuda else _CACHED
        for part in self.x.split(max(1, cells // max(self.x.shape[1], len(bias)))):
            total, grad = self.partition(F.linear(part, weight, bias))
            loss = loss + total / len(self.x)
            weight_grad.addmm_(grad.T, part)
            bias_grad += grad.sum(dim=0)
        weight_grad = weight_grad / len(self.x) - self.label_grad + decay * weight
        return loss, weight_grad, bias_grad / len(self.x) - self.label_share

    def sharpen(self, weight: Tensor, bias: Tensor) -> None:
        """Estimate the curvature again, near a solution: later fits need fewer iterations."""
        if self.basis is not None:
            return
        rows = self.x[:: max(1, len(self.x) // _SAMPLE)]
        p = self.partition(F.linear(rows, weight, bias))[1]
        spread = (p * (1 - p)).mean(dim=1, keepdim=True)
        self._bend(rows * spread.sqrt(), 1.0)

    def _bend(self, rows: Tensor, factor: float) -> None:
        values, self.vectors = torch.linalg.eigh((rows.T @ rows / len(rows)).double())
        values = factor * values.clamp_min(0)
        # 1e-30: features that are all zero have no curvature at all
        self.values = values + 1e-6 * values.mean() + 1e-30

    def _power(self, values: Tensor) -> Tensor:
        return ((self.vectors * values) @ self.vectors.T).to(self.x.dtype)
