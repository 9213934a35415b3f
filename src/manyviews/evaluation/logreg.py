"""Logistic regression as transfer papers report it."""

from torch import Tensor

from manyviews.evaluation.linear import Linear, choose, hold_out
from manyviews.evaluation.result import check_split
from manyviews.evaluation.solver import Solver

COSTS = tuple(10 ** (-6 + 11 * i / 44) for i in range(45))
"""C: 45 values from 1e-6 to 1e5, evenly spaced in the logarithm."""


def logistic_regression(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, *, seed: int = 0, cost: float | None = None
) -> tuple[Tensor, Linear]:
    """Multinomial logistic regression on features as they are, C chosen on 10 % of the training.

    It minimises |weight|^2 / 2 + C * (sum of cross entropies), as scikit-learn and cuML do; the
    bias is free. After the choice all training examples are learnt from, with the same C.

    Source: Kornblith et al., "Do better ImageNet models transfer better?" (2019), A.2;
    facebookresearch/dinov2 dinov2/eval/log_regression.py. Those use float64 and up to 1000
    iterations for each C; here it is float32, and each C starts from the solution of the last and
    ends when an iteration gains less than 1e-4 (the final fit: 1e-6) of a nat.

    Args:
        train_x: [N, D] float.
        train_y: [N] int64.
        test_x: [Q, D] float.
        seed: of the held-out part.
        cost: C; chosen among `COSTS` where it is left out.

    Returns:
        Predictions [Q] int64 and the classifier; its `tried` is C -> held-out accuracy.

    Raises:
        UsageError: features or labels that cannot be used.
    """
    check_split(train_x, train_y, test_x)
    y = train_y.to(train_x.device)
    # the bias is free, so taking the mean away changes no solution, only the way there
    mean = train_x.float().mean(dim=0)
    x = train_x.float() - mean
    start, like, tried = None, None, dict[float, float]()
    if cost is None:
        rows = len(x) - int(hold_out(y, share=0.1, seed=seed).sum())
        decays = {1 / (c * rows): c for c in COSTS}
        decay, found, start, like = choose(
            x, y, decays=list(decays), seed=seed, iterations=1000, patience=len(COSTS)
        )
        cost, tried = decays[decay], {decays[d]: right for d, right in found.items()}
    solver = Solver(x, y, classes=int(y.max()) + 1, iterations=1000, like=like)
    decay = 1 / (cost * len(x))
    weight, bias = solver.fit(decay, start, tolerance=1e-6)
    probe = Linear(mean, mean.new_ones(1), weight, bias, decay, tried)
    return probe.predict(test_x), probe
