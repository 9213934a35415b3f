"""Losses that tell a sample's other view from other samples."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.pairs import products, several
from manyviews.losses.precision import full_precision


@full_precision
def unit(x: Tensor) -> Tensor:
    """Scale x [..., D] to length 1 along D, in float32 even under autocast."""
    return F.normalize(x, dim=-1)


@full_precision
def nt_xent(z: Tensor, *, temperature: float) -> Tensor:
    """Find the other view of each sample among all views of the global batch but itself.

    The mean over the 2N anchors of -log(exp(s_pos / T) / sum over the 2N - 1 others of
    exp(s / T)). The same-view embeddings of other samples count as negatives too.

    Args:
        z: [B, 2, D] unit vectors of this rank; rank r holds samples rB to rB + B - 1.
        temperature: T.

    Returns:
        Scalar; the mean over this rank's anchors. Under autocast float32.

    Raises:
        UsageError: there is one sample in all.

    Source: Chen et al. 2020 (SimCLR), equation 1 and algorithm 1. google-research/simclr
    objective.py adds the means of the two views, which is twice this.
    """
    anchors = z.transpose(0, 1).flatten(0, 1)  # view by view: [2B, D]
    others = comm.gather(z).transpose(0, 1).flatten(0, 1)  # [2N, D]
    samples = len(others) // 2
    several(samples)
    row = comm.share(torch.arange(samples, device=z.device))
    itself = torch.cat([row, row + samples])
    positive = torch.cat([row + samples, row])
    logits = anchors @ others.T / temperature
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    return F.cross_entropy(logits, positive)


@full_precision
def multi_crop_nt_xent(z: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent of many crops: every two crops of a sample attract, each against all other samples'.

    The mean over the anchors, all crops of all samples, and over each one's M - 1 positives of
    -log(exp(s_pos / T) / (exp(s_pos / T) + sum over the M (N - 1) crops of other samples of
    exp(s / T))). Of two crops it is `nt_xent`.

    Args:
        z: [B, M, D] unit vectors of this rank, 2 <= M; rank r holds samples rB to rB + B - 1 of N.
        temperature: T.

    Returns:
        Scalar; the mean over this rank's anchors. Under autocast float32.

    Raises:
        UsageError: there is one sample in all.

    Source: Caron et al. 2020 (SwAV), equation 7 (appendix A.8).
    """
    crops, everyone = z.shape[1], comm.gather(z).flatten(0, 1)
    several(len(everyone) // crops)
    samples = torch.arange(len(everyone), device=z.device) // crops
    own = comm.share(samples)[:, None] == samples  # [B M, N M]
    logits = z.flatten(0, 1) @ everyone.T / temperature
    away = logits.masked_fill(own, -torch.inf).logsumexp(dim=1)
    positive = (z @ z.transpose(1, 2) / temperature).flatten(0, 1)  # [B M, M]
    each = torch.logaddexp(positive, away[:, None]) - positive
    others = ~torch.eye(crops, dtype=torch.bool, device=z.device).repeat(len(z), 1)
    return each[others].mean()


@full_precision
def info_nce(query: Tensor, key: Tensor, negatives: Tensor, *, temperature: float) -> Tensor:
    """Find each query's key among it and a set of negatives that all queries share.

    The mean of -log(exp(q.k / T) / (exp(q.k / T) + sum over negatives n of exp(q.n / T))).

    Args:
        query: [B, D] unit vectors.
        key: [B, D] unit vectors; row i belongs to query i.
        negatives: [K, D] unit vectors.
        temperature: T.

    Returns:
        Scalar; the mean over this rank's queries. Under autocast float32.

    Source: He et al. 2020 (MoCo), equation 1.
    """
    positive = (query * key).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, query @ negatives.T], dim=1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


@full_precision
def batch_info_nce(query: Tensor, key: Tensor, *, temperature: float) -> Tensor:
    """Find each query's key among the keys of the global batch.

    The mean of -log(exp(q_i.k_i / T) / sum over all N keys of exp(q_i.k_j / T)). Gradient reaches
    the keys where they want it.

    Args:
        query: [B, D] unit vectors of this rank.
        key: [B, D] unit vectors; row i belongs to query i.
        temperature: T.

    Returns:
        Scalar; the mean over this rank's queries. Under autocast float32.

    Raises:
        UsageError: there is one sample in all.

    Source: Chen et al. 2021 (MoCo v3), equation 1, without its factor of 2T; Dwibedi et al. 2021
    (NNCLR), equation 3, with the neighbour as the query.
    """
    keys = comm.gather(key)
    several(len(keys))
    own = comm.share(torch.arange(len(keys), device=key.device))
    return F.cross_entropy(query @ keys.T / temperature, own)


@full_precision
def cell_info_nce(made: Tensor, hoped: Tensor) -> Tensor:
    """Find each cell among all cells of all samples of the global batch, by plain dot products.

    The mean over predictions p of -log(exp(p.h_own) / sum over all N K cells h of exp(p.h)).
    Gradient reaches the cells.

    Args:
        made: [B, K, D] predictions of this rank.
        hoped: [B, K, D] cells; cell k of sample b is what prediction k of it is of.

    Returns:
        Scalar; the mean over this rank's predictions. Under autocast float32.

    Source: Han et al. 2019 (DPC), equation 5; TengdaHan/DPC dpc/model_3d.py and main.py.
    """
    every = comm.gather(hoped)
    own = torch.arange(every.shape[0] * every.shape[1], device=made.device)
    own = comm.share(own.unflatten(0, every.shape[:2]))
    return F.cross_entropy(made.flatten(0, 1) @ every.flatten(0, 1).T, own.flatten())


@full_precision
def decoupled(z: Tensor, *, temperature: float, sigma: float = 0.0) -> Tensor:
    """NT-Xent with the positive left out of the denominator.

    The mean over the 2N anchors of -w s_pos / T + log of the sum over the 2N - 2 views of other
    samples of exp(s / T). The weight w of a sample is 1, or with a sigma
    2 - exp(s_pos / sigma) / mean over samples of exp(s_pos / sigma): more than 1 where its views
    are farther apart than others'. Gradient flows through w.

    Args:
        z: [B, 2, D] unit vectors of this rank.
        temperature: T.
        sigma: of the weight; 0 weighs all alike.

    Returns:
        Scalar, which can be negative; the mean over this rank's anchors. Under autocast float32.

    Source: Yeh et al. 2022 (DCL, DCLW), equations 3 to 6.
    """
    positive, negatives = products(z)
    away = (negatives / temperature).logsumexp(dim=1)
    if sigma > 0:
        agree = comm.gather((z[:, 0] * z[:, 1]).sum(dim=1)) / sigma
        mean = agree.logsumexp(dim=0) - math.log(len(agree))
        positive = positive * (2 - (positive / sigma - mean).exp())
    return (away - positive / temperature).mean()


@full_precision
def debiased(z: Tensor, *, temperature: float, prior: float, hardness: float = 0.0) -> Tensor:
    """NT-Xent with the negatives' sum corrected for those that are positives in truth.

    With p = exp(s_pos / T), the M = 2N - 2 views n of other samples, n = exp(s / T), and weights
    n^hardness over their mean: the mean over the 2N anchors of -log(p / (p + G)), where
    G = (sum of weighted n - prior M p) / (1 - prior), but at least M exp(-1 / T).

    Args:
        z: [B, 2, D] unit vectors of this rank.
        temperature: T.
        prior: the chance that another sample is of the anchor's class; below 1.
        hardness: beta; 0 weighs all negatives alike, more weighs the similar ones up.

    Returns:
        Scalar; the mean over this rank's anchors. Under autocast float32.

    Source: Chuang et al. 2020, equation 8 with one positive (chingyaoc/DCL main.py); Robinson et
    al. 2021, section 3 (joshr17/HCL image/main.py).
    """
    positive, negatives = (s / temperature for s in products(z))
    count = negatives.shape[1]
    weights = count * (hardness * negatives).softmax(dim=1)
    # All over the largest of an anchor's, so that nothing overflows and not all vanishes.
    largest = torch.maximum(positive, negatives.amax(dim=1)).detach()
    p = (positive - largest).exp()
    n = (weights * (negatives - largest[:, None]).exp()).sum(dim=1)
    least = count * (-1 / temperature - largest).exp()
    g = torch.maximum((n - prior * count * p) / (1 - prior), least)
    return ((p + g).log() + largest - positive).mean()
