"""Retrieval across two encoders: of all sounds, is a clip's own the nearest, and the reverse?"""

import time

from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.intervals import bootstrap_of
from manyviews.evaluation.result import Estimate, Result, accuracy
from manyviews.evaluation.retrieval import TOP


def ranks(alike: Tensor) -> Tensor:
    """[N] int64, from 1: where each row's own column comes; behind all others that are equal.

    Args:
        alike: [N, N] of queries and what is sought, in the same order; the more, the nearer.
    """
    return (alike >= alike.diagonal()[:, None]).sum(dim=1)


def across(alike: Tensor, names: tuple[str, str], *, compared: str) -> Result:
    """Recall at 1, 5 and 10 (Wilson) and the median rank (bootstrap), in both directions.

    Args:
        alike: [N, N]: how near the first encoder's view of each sample is to the second's of each.
        names: of the encoders.
        compared: which features those are, in words.

    Raises:
        UsageError: fewer than two samples, or numbers that are not finite.
    """
    began = time.perf_counter()
    if len(alike) < 2:
        raise UsageError(f"There is {len(alike)} sample; to be told apart wants 2 or more.")
    if not alike.isfinite().all():
        raise UsageError(
            "The features are NaN or infinite. Evaluate an earlier checkpoint: --step."
        )
    one, other = names
    measures: dict[str, Estimate] = {}
    for way, matrix in ((f"{one} to {other}", alike), (f"{other} to {one}", alike.T)):
        found = ranks(matrix)
        for k in TOP:
            measures[f"{way} recall@{k}"] = accuracy(int((found <= k).sum()), len(found))
        measures[f"{way} median rank"] = _median(found)
    return Result(
        protocol="across",
        version=1,
        train=0,
        n=len(alike),
        classes=0,
        measures=measures,
        seconds=time.perf_counter() - began,
        notes=(f"compared are {compared}", f"by chance recall@1 is {1 / len(alike):.4f}"),
    )


def _median(found: Tensor) -> Estimate:
    ranked = found.double().cpu()

    def of(rows: Tensor) -> Tensor:
        return ranked[rows].quantile(0.5, dim=1, keepdim=True)

    value = float(ranked.quantile(0.5))
    return bootstrap_of(of, [value], len(ranked))[0]
