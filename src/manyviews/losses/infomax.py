"""Bounds on the information between a sample, or its context, and the places of its map."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision


@full_precision
def jensen_shannon(whole: Tensor, places: Tensor) -> Tensor:
    """Tell a sample's own places from those of others, one by one.

    Minus the mean over a sample's own places of ln 2 - softplus(-u), plus the mean over those of
    other samples of softplus(u) - ln 2, with scores u = whole . place.

    Args:
        whole: [B, D] of this rank.
        places: [B, L, D]; all ranks' are compared.

    Returns:
        Scalar, the mean over this rank's samples; 0 where all scores are 0. Under autocast float32.

    Source: Hjelm et al. 2019 (Deep InfoMax), equation 4; rdevon/DIM cortex_DIM/functions.
    """
    own, others = _own_and_others(_scores(whole, places))
    return F.softplus(-own).mean() + F.softplus(others).mean() - 2 * math.log(2)


@full_precision
def place_info_nce(whole: Tensor, places: Tensor) -> Tensor:
    """Pick each of a sample's own places out among it and all places of all other samples.

    Args:
        whole: [B, D] of this rank.
        places: [B, L, D]; all ranks' are compared.

    Returns:
        Scalar, the mean over this rank's samples and places. Under autocast float32.

    Source: Hjelm et al. 2019 (Deep InfoMax), equation 5; rdevon/DIM
    cortex_DIM/functions/dim_losses.py.
    """
    return _picked(_scores(whole, places))


@full_precision
def clipped_info_nce(whole: Tensor, places: Tensor, *, clip: float) -> tuple[Tensor, Tensor]:
    """The same with scores over sqrt(D) that are softly held within a range.

    Args:
        whole: [B, D] of this rank.
        places: [B, L, D]; all ranks' are compared.
        clip: c of c tanh(score / c).

    Returns:
        The loss, and the mean of the squared scores before they are clipped. Under autocast
        float32.

    Source: Bachman et al. 2019 (AMDIM), section 3.4; Philip-Bachman/amdim-public costs.py.
    """
    scores = _scores(whole, places) / math.sqrt(whole.shape[1])
    return _picked(clip * (scores / clip).tanh()), scores.square().mean()


@full_precision
def predicted_place(guesses: Tensor, places: Tensor, where: Tensor) -> Tensor:
    """Tell which place of all samples' maps a guess is of, by the softmax of its products.

    All places are candidates, those of the same sample too.

    Args:
        guesses: [B, P, D] of this rank.
        places: [B, L, D]; all ranks' are compared.
        where: [P] int64 in [0, L), the place that a guess is of.

    Returns:
        Scalar, the mean over this rank's guesses. Under autocast float32.

    Source: Henaff et al. 2019 (CPC v2), appendix A.2.
    """
    everyone = comm.gather(places)
    logits = guesses.flatten(0, 1) @ everyone.flatten(0, 1).T
    samples = comm.share(torch.arange(len(everyone), device=where.device))
    return F.cross_entropy(logits, (samples[:, None] * places.shape[1] + where).flatten())


def _scores(whole: Tensor, places: Tensor) -> Tensor:
    """[B, N, L]: of each sample of this rank with the places of all ranks' samples."""
    return torch.einsum("bd,nld->bnl", whole, comm.gather(places))


def _own_and_others(scores: Tensor) -> tuple[Tensor, Tensor]:
    """[B, L] and [B, N - 1, L]."""
    samples = torch.arange(scores.shape[1], device=scores.device)
    own = comm.share(samples)[:, None] == samples
    others = scores[~own].view(len(scores), -1, scores.shape[2])
    return scores[own], others


def _picked(scores: Tensor) -> Tensor:
    own, others = _own_and_others(scores)
    rest = others.flatten(1).logsumexp(dim=1, keepdim=True)
    return (torch.logaddexp(own, rest) - own).mean()
