"""Entropy and reconstruction: a lower bound on what one view tells of the other.

I(Z1; Z2) >= H(Z2) + E[ln q(Z2 | Z1)], Rodriguez-Galvez et al. 2023 (arXiv:2307.10907), section 2.
On the unit sphere q and the kernels of the density estimate are von Mises-Fisher distributions,
vMF(x; m, kappa) = C_D(kappa) exp(kappa x.m); on clusters they are categorical. All in nats; both
terms are to be made large.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError, comm
from manyviews.losses.precision import full_precision

Estimator = Literal["joe", "plug-in"]


def log_bessel(nu: float, kappa: float) -> float:
    """Logarithm of I_nu(kappa), the modified Bessel function of the first kind.

    Defined here for nu >= 0 and 0 < kappa <= 100,000; takes kappa + 40 terms.

    Neither under- nor overflows, and is right to about 1e-10, which I_nu itself is not: for
    D = 1000 dimensions and kappa = 10 its value is about 1e-783.

    Source: the power series, DLMF 10.25.2, summed as logarithms. Its terms rise up to
    m < kappa / 2, then fall off, at m = kappa by 0.38 kappa nats; hence the count.
    """
    log_half = math.log(kappa / 2)
    terms = [
        (2 * m + nu) * log_half - math.lgamma(m + 1) - math.lgamma(nu + m + 1)
        for m in range(math.ceil(kappa) + 40)
    ]
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(term - largest) for term in terms))


def log_vmf_normaliser(dim: int, kappa: float) -> float:
    """Logarithm of C_D(kappa): the log-density of vMF in D dimensions is kappa cos + ln C_D.

    Source: Banerjee et al. 2005 (JMLR 6), section 2: C = kappa^nu / ((2 pi)^(D/2) I_nu(kappa))
    with nu = D/2 - 1. apple/ml-entropy-reconstruction adds 1e-7 to I_nu, so that its entropies and
    reconstructions are off by a constant that is large where I_nu is small.

    Raises:
        UsageError: kappa is not above 0, or above 100,000.
    """
    if not 0 < kappa <= 100_000:
        raise UsageError(
            f"No von Mises-Fisher kernel has the concentration {kappa:g}; wanted a number above 0 "
            "and up to 100000. Set --method.concentration or --entropy.concentration."
        )
    nu = dim / 2 - 1
    return nu * math.log(kappa) - dim / 2 * math.log(2 * math.pi) - log_bessel(nu, kappa)


@full_precision
def vmf_entropy(z: Tensor, *, kappa: float, estimator: Estimator = "joe") -> Tensor:
    """Entropy of unit vectors over the global batch of N, by a kernel density estimate.

    "joe" is -1/N sum_i ln p(z_i) with p(z_i) the mean of the kernels of the N - 1 others: leaving
    out its own keeps a small batch or a high kappa from hiding everything else. "plug-in" is
    -sum_i w_i ln p(z_i) with its own kernel in p and w the p(z_i) scaled to sum 1.

    Args:
        z: [B, D] of length 1; N >= 2.
        kappa: concentration of the kernels; the larger, the narrower.
        estimator: of the two above.

    Returns:
        Scalar: with "joe" the mean over this rank's rows, with "plug-in" the global batch's.
        Under autocast float32.

    Raises:
        UsageError: N is 1, or no kernel has that kappa.

    Source: Rodriguez-Galvez et al. 2023, section 4.1; apple/ml-entropy-reconstruction, where
    "joe" (`average`) keeps its own kernel.
    """
    others = comm.gather(z)
    if len(others) < 2:
        raise UsageError(
            "The entropy of a batch compares its images; wanted 2 or more, got 1. "
            "Raise --data.batch-size."
        )
    logits = kappa * z @ others.T
    if estimator == "joe":
        itself = comm.share(torch.arange(len(others), device=z.device))
        logits = logits.scatter(1, itself[:, None], -torch.inf)
    counted = len(others) - (estimator == "joe")
    constant = log_vmf_normaliser(z.shape[1], kappa) - math.log(counted)
    log_p = logits.logsumexp(dim=1) + constant
    if estimator == "joe":
        return -log_p.mean()
    log_p = comm.gather(log_p)
    return -(log_p.softmax(dim=0) * log_p).sum()


@full_precision
def vmf_reconstruction(a: Tensor, b: Tensor, *, kappa: float) -> Tensor:
    """Mean log-density of one view under a vMF around the other: kappa cos + ln C_D(kappa).

    Args:
        a: [B, D] of length 1.
        b: [B, D] of length 1; row i belongs to row i of a.
        kappa: concentration.

    Returns:
        Scalar; the mean over this rank's rows. Under autocast float32.

    Source: Rodriguez-Galvez et al. 2023, section 4.1.
    """
    return kappa * (a * b).sum(dim=1).mean() + log_vmf_normaliser(a.shape[1], kappa)


@full_precision
def discrete_entropy(p: Tensor) -> Tensor:
    """Entropy of the mean over the global batch of distributions over K clusters.

    Args:
        p: [B, K] probabilities.

    Returns:
        Scalar in [0, ln K], of the global batch. Under autocast float32.

    Source: Rodriguez-Galvez et al. 2023, section 4.1.
    """
    mean = comm.mean(p.mean(dim=0))
    return -(mean * mean.clamp_min(torch.finfo(mean.dtype).tiny).log()).sum()


@full_precision
def prior_divergence(p: Tensor, log_prior: Tensor) -> Tensor:
    """How far the mean over the global batch of distributions is from a prior: KL(mean || prior).

    With a uniform prior it is ln K less `discrete_entropy`.

    Args:
        p: [B, K] probabilities.
        log_prior: [K] logarithms of the prior's.

    Returns:
        Scalar of 0 or more, of the global batch. Under autocast float32.

    Source: Assran et al. 2022 (MSN), equation 1; Assran et al. 2022 (2210.07277), section 5.
    """
    mean = comm.mean(p.mean(dim=0))
    return (mean * (mean.clamp_min(torch.finfo(mean.dtype).tiny).log() - log_prior)).sum()


@full_precision
def discrete_reconstruction(a: Tensor, b: Tensor) -> Tensor:
    """Mean log-likelihood of one view's cluster under the other's distribution, both ways.

    1/2 sum_k (p_a ln p_b + p_b ln p_a), averaged over samples.

    Args:
        a: [B, K] log-probabilities.
        b: [B, K] log-probabilities; row i belongs to row i of a.

    Returns:
        Scalar <= 0; the mean over this rank's rows. Under autocast float32.

    Source: apple/ml-entropy-reconstruction; Rodriguez-Galvez et al. 2023, section 4.1.
    """
    return ((a.exp() * b).sum(dim=1) + (b.exp() * a).sum(dim=1)).mean() / 2


@full_precision
def entropy_term(z: Tensor, *, weight: float, kappa: float) -> dict[str, Tensor]:
    """What a method adds to its losses so that its projections stay spread out.

    Args:
        z: [B, V, D] of any length; each view's entropy is estimated by itself (`vmf_entropy`,
            "joe") and the mean taken.
        weight: of the entropy; 0 adds nothing and computes nothing.
        kappa: concentration of the kernels.

    Returns:
        {"entropy": -weight * entropy}, or {}.
    """
    if weight == 0:
        return {}
    views = F.normalize(z, dim=-1).unbind(dim=1)
    entropy = torch.stack([vmf_entropy(view, kappa=kappa) for view in views]).mean()
    return {"entropy": -weight * entropy}


@full_precision
def cluster_entropy_term(logits: Tensor, *, weight: float) -> dict[str, Tensor]:
    """What a method with prototypes adds to its losses so that all of them stay in use.

    Args:
        logits: [B, V, K] of the predictions; each view's entropy (`discrete_entropy`) is taken by
            itself, and their mean.
        weight: of the entropy; 0 adds nothing and computes nothing.

    Returns:
        {"entropy": -weight * entropy}, or {}.
    """
    if weight == 0:
        return {}
    views = logits.softmax(dim=-1).unbind(dim=1)
    return {"entropy": -weight * torch.stack([discrete_entropy(p) for p in views]).mean()}
