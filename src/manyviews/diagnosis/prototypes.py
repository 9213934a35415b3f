"""How a method uses its prototypes, from the assignments that it makes."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_features


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How prototypes are used by N assignments over K of them.

    Attributes:
        perplexity: exponential of the entropy of the mean assignment, over K: 1 / K to 1.
        usage_entropy: that entropy over ln K, 0 (one prototype) to 1 (all alike); a name that
            `alarms` knows.
        target_entropy: mean entropy of an assignment over ln K, 0 (one-hot) to 1 (uniform); a
            name that `alarms` knows.
        information: mutual information of image and prototype in nats, at most ln K: the
            difference of the two entropies. About 0 is a collapse: uniform where
            `target_entropy` is about 1, to one prototype where `usage_entropy` is about 0.
        dead: prototypes that no assignment has as its largest; means little below N = 10 K.
        prototypes: K.
    """

    perplexity: float
    usage_entropy: float
    target_entropy: float
    information: float
    dead: int
    prototypes: int


def prototype_usage(assignment: Tensor) -> Usage:
    """Judge the assignments of a set of images.

    Sinkhorn makes a batch's assignments even and so hides prototypes that nobody wants: look at
    the plain softmax as well.

    Args:
        assignment: [N, K] probabilities, each row of sum 1; K >= 2, N >= 10 K.

    Raises:
        UsageError: not a finite [N, K] of probabilities, or a single prototype.
    """
    check_features(assignment)
    n, k = assignment.shape
    p = assignment.double()
    sums = p.sum(dim=1)
    if k < 2 or bool((p < 0).any()) or float((sums - 1).abs().max()) > 1e-2:
        raise UsageError(
            f"Prototype assignments have shape {(n, k)}, values from {float(p.min()):.3g} and rows "
            f"of sum {float(sums.min()):.3g} to {float(sums.max()):.3g}; wanted two or more "
            "prototypes and probabilities of sum 1. Give the softmax, not the logits."
        )
    p = p / sums[:, None]
    used = float(torch.special.entr(p.mean(dim=0)).sum())
    each = float(torch.special.entr(p).sum(dim=1).mean())
    return Usage(
        perplexity=math.exp(used) / k,
        usage_entropy=used / math.log(k),
        target_entropy=each / math.log(k),
        information=max(0.0, used - each),
        dead=k - len(torch.unique(p.argmax(dim=1))),
        prototypes=k,
    )
