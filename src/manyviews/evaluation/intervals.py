"""How far a number may be off: 95 % intervals over test examples and over draws."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from manyviews.evaluation.result import Estimate

_CELLS = 2**24  # drawn rows at a time: 128 MB

# 97.5 % points of Student's t with 1, 2, ... degrees of freedom
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)


def bootstrap(per_item: Tensor, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Mean over test items with the percentile interval of the bootstrap.

    Args:
        per_item: [Q], one value for each test item.
        resamples: test sets drawn from the items, with replacement.
        seed: of the draws: the same items always give the same interval.
    """
    items = per_item.double().cpu()
    [estimate] = bootstrap_of(
        lambda rows: items[rows].mean(dim=1, keepdim=True),
        [float(items.mean())],
        len(items),
        resamples=resamples,
        seed=seed,
    )
    return estimate


def bootstrap_of(
    statistics: Callable[[Tensor], Tensor],
    values: Sequence[float],
    n: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Estimate]:
    """Any K statistics of n test items, with the percentile intervals of the bootstrap.

    Args:
        statistics: rows [R, n] int64 that were drawn with replacement -> [R, K].
        values: the K statistics of the items themselves.
        n: test items.
        resamples: test sets drawn.
        seed: of the draws.

    Source: B. Efron, "Nonparametric standard errors and confidence intervals" (1981).
    """
    drawn = torch.cat([statistics(rows).double().cpu() for rows in _drawn(n, resamples, seed)])
    ends = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0)
    return [
        Estimate(value, low, high) for value, low, high in zip(values, *ends.tolist(), strict=True)
    ]


def over_draws(values: Sequence[float]) -> Estimate:
    """Mean of several draws with Student's t interval of the mean, kept within [0, 1].

    It says how much the draw of training examples matters; the test examples are the same in all
    draws, so their share of the uncertainty is not in it.

    Args:
        values: two or more, in [0, 1].
    """
    n = len(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    half = student(n - 1) * deviation / math.sqrt(n)
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))


def apart(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two classifiers differ, tested on the same images after the same draws; at 5 %.

    Of one draw McNemar's exact test, on the images that only one of the two has right. Of several
    draws Student's t of the mean difference, whose variance is that over images plus that over
    draws, with draws - 1 degrees of freedom: what is told apart is so on other test images and
    with other training examples.

    Args:
        one: as `Result.right`, a text a draw.
        other: likewise, of as many draws and images.

    Source: Q. McNemar, Psychometrika 12 (1947); the exact form is a sign test.
    """
    pairs = [_difference(a, b) for a, b in zip(one, other, strict=True)]
    if len(pairs) == 1:
        [gain] = pairs
        wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
        n, few = wins + losses, torch.arange(min(wins, losses) + 1, dtype=torch.float64)
        ways = math.lgamma(n + 1) - torch.lgamma(few + 1) - torch.lgamma(n - few + 1)
        return float(ways.logsumexp(dim=0)) - n * math.log(2) <= math.log(0.025)
    gains = torch.stack(pairs)
    draws, images = gains.shape
    spread = gains.mean(dim=0).var() / images + gains.mean(dim=1).var() / draws
    return abs(float(gains.mean())) > student(draws - 1) * math.sqrt(float(spread))


def _difference(one: str, other: str) -> Tensor:
    """+1 where only the first is right, -1 where only the second is, else 0: [Q] float64."""
    a, b = (torch.tensor([c == "1" for c in text], dtype=torch.float64) for text in (one, other))
    return a - b


def student(freedom: int) -> float:
    """97.5 % point of Student's t; by the expansion in 1 / freedom above 10, right to 1e-4.

    Source: Abramowitz and Stegun 26.7.5.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z, n = 1.959964, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


def _drawn(n: int, resamples: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    step = max(1, _CELLS // n)
    for start in range(0, resamples, step):
        yield torch.randint(n, (min(step, resamples - start), n), generator=generator)
