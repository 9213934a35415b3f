"""Lower bounds on what one view's features tell of the other's, in nats."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_views
from manyviews.diagnosis.uniformity import unit
from manyviews.losses.entropy import (
    vmf_entropy,
    vmf_reconstruction,
)


class InfoNCE(NamedTuple):
    """A bound, and what limits it.

    Attributes:
        bound: in nats, at most ln `candidates`; below 0 it says nothing.
        candidates: M, second views that a first view chooses from, its own among them.
    """

    bound: float
    candidates: int


@dataclass(frozen=True, kw_only=True)
class EntropyReconstruction:
    """The two terms of the entropy-reconstruction bound, apart; all in nats.

    Attributes:
        entropy_joe: of the second views, kernel density estimate that leaves a row's own kernel
            out; ln K at most where assignments are discrete.
        entropy_plugin: the same, plug-in; where assignments are discrete, the same number.
        reconstruction: mean log-likelihood of one view given the other.
        bound: on the mutual information: entropy_joe + reconstruction.
    """

    entropy_joe: float
    entropy_plugin: float
    reconstruction: float
    bound: float


def infonce_bound(a: Tensor, b: Tensor, *, temperature: float, chunk: int = 1024) -> InfoNCE:
    """The mutual information that InfoNCE's loss L proves: ln M - L.

    Van den Oord et al. 2018 (arXiv:1807.03748), section 2.3, of cosines over the temperature; the
    mean of both directions. It saturates at ln M whatever the information is, and a tighter bound
    is no better representation (Tschannen et al. 2020).

    Args:
        a: [N, D], features of one view of each image; M is N.
        b: [N, D], of the other.
        temperature: of training, for a figure to be held against its loss.
        chunk: rows compared at a time; does not change the result.

    Raises:
        UsageError: unusable features, shapes that differ, one image, or a temperature not above 0.
    """
    first, second = _pair(a, b)
    if not temperature > 0:
        raise UsageError(
            f"The InfoNCE bound has temperature {temperature}; wanted a number above 0, as trained."
        )
    loss = (_loss(first, second, temperature, chunk) + _loss(second, first, temperature, chunk)) / 2
    return InfoNCE(bound=math.log(len(a)) - loss, candidates=len(a))


def entropy_reconstruction(
    a: Tensor, b: Tensor, *, kappa: float = 10.0, rows: int = 4096
) -> EntropyReconstruction:
    """The bound H(Z2) + E[ln q(Z2 | Z1)] of normalised features, with von Mises-Fisher densities.

    Rodriguez-Galvez et al. 2023 (arXiv:2307.10907), section 4.1. The estimate of the entropy
    depends on N and kappa: hold only equal ones against one another.

    Args:
        a: [N, D], features of one view of each image.
        b: [N, D], of the other.
        kappa: concentration of kernels and decoder; the authors use 10.
        rows: most that are looked at; memory grows with its square (128 MiB at 4096).

    Raises:
        UsageError: unusable features, shapes that differ, one image, D below 2, or a kappa not
            above 0.
    """
    first, second = _pair(a, b)
    if not kappa > 0 or first.shape[1] < 2:
        raise UsageError(
            f"The entropy-reconstruction bound has kappa {kappa} and {first.shape[1]} dimensions; "
            "wanted kappa above 0 and two dimensions or more."
        )
    first, second = first[:rows].double(), second[:rows].double()
    joe = float(vmf_entropy(second, kappa=kappa, estimator="joe"))
    rebuilt = float(vmf_reconstruction(first, second, kappa=kappa))
    return EntropyReconstruction(
        entropy_joe=joe,
        entropy_plugin=float(vmf_entropy(second, kappa=kappa, estimator="plug-in")),
        reconstruction=rebuilt,
        bound=joe + rebuilt,
    )


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    check_views(a, b)
    if len(a) < 2:
        raise UsageError("The bound compares samples with one another; wanted 2 or more, got 1.")
    return unit(a), unit(b)


def _loss(anchors: Tensor, candidates: Tensor, temperature: float, chunk: int) -> float:
    total = 0.0
    for start in range(0, len(anchors), chunk):
        logits = (anchors[start : start + chunk] @ candidates.T).double() / temperature
        own = logits.diagonal(offset=start)
        total += float((logits.logsumexp(dim=1) - own).sum())
    return total / len(anchors)
