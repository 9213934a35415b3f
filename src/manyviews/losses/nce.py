"""Noise-contrastive losses of a query against its own row and its own draws from a bank."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.losses.precision import full_precision

NoiseLoss = Literal["nce", "info_nce"]
"""How a sample's own row is told from the rows drawn beside it."""

_ELEMENTS = 2**24
"""Bank elements that `scores` holds at once: 64 MiB of float32."""
_DENSE = 16
"""So many items for each that is asked of are all multiplied: a row that is fetched costs what 150
take in one product (256 queries of 128 numbers, 4,096 rows of 12,000; one thread)."""


@full_precision
def scores(query: Tensor, items: Tensor, index: Tensor, *, temperature: float) -> Tensor:
    """Dot products of each query with rows of its own, over the temperature.

    The [B, K, D] rows are never held whole, neither here nor for the backward pass, so K = 32000
    costs no more memory than its scores, or `_DENSE` times that where there are so few items that
    one product with all of them is quicker. The rows must be the same until the backward pass.

    Args:
        query: [B, D].
        items: [N, D]; no gradient flows to them.
        index: [B, K] int64 in [-N, N); what is below 0 counts from the end, as in any index.
        temperature: T.

    Returns:
        [B, K] of query[b] . items[index[b, k]] / T; float32 under autocast.
    """
    if len(items) <= _DENSE * index.shape[1]:
        return (query @ items.detach().T).gather(1, index % len(items)) / temperature
    return _Dots.apply(query, items, index) / temperature  # pyright: ignore[reportReturnType]


@full_precision
def nce(positive: Tensor, negatives: Tensor, *, partition: Tensor) -> Tensor:
    """Tell the data's row from K rows of noise, with a partition that is a constant.

    With noise that is uniform over the N samples and P(i) = exp(s_i) / (N * partition), the mean
    over queries of -log(P / (P + K/N)) of the positive and the sum over its negatives of
    -log((K/N) / (P + K/N)). N cancels. In logarithms, so no score overflows.

    Args:
        positive: [B] scores, over the temperature; or [B, P], of which the mean is taken.
        negatives: [B, K] scores, over the temperature.
        partition: scalar, the mean of exp(score) over the first scores of the run, which is Z / N;
            no gradient flows to it.

    Returns:
        Scalar, the mean over this rank's queries of a sum over K. Scores that are all equal, with
        the partition that they have, give ln(1 + K) + K ln(1 + 1/K). float32 under autocast.

    Source: Wu et al. 2018 (NPID), section 3.2; Misra and van der Maaten 2020 (PIRL);
    Morgado et al. 2021 (AVID).
    """
    noise = (negatives.shape[1] * partition.detach()).log()
    # Not softplus, which torch takes to be linear from 20 on.
    found, rejected = F.logsigmoid(positive - noise), F.logsigmoid(noise - negatives)
    return -(found.reshape(len(found), -1).mean(dim=1) + rejected.sum(dim=1)).mean()


@full_precision
def own_info_nce(positive: Tensor, negatives: Tensor) -> Tensor:
    """InfoNCE where each query has negatives of its own.

    Args:
        positive: [B] scores, over the temperature.
        negatives: [B, K] scores, over the temperature.

    Returns:
        Scalar; the mean over this rank's queries of -log softmax of the positive among 1 + K.

    Source: facebookresearch/vissl losses/nce_loss.py, loss_type "cross_entropy".
    """
    logits = torch.cat([positive[:, None], negatives], dim=1)
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def own_row(kind: NoiseLoss, scores: Tensor, *, partition: Tensor) -> Tensor:
    """`nce` or `own_info_nce` of [B, 1 + K] scores, each query's own row first."""
    positive, negatives = scores[:, 0], scores[:, 1:]
    if kind == "nce":
        return nce(positive, negatives, partition=partition)
    return own_info_nce(positive, negatives)


def even(kind: NoiseLoss, negatives: int) -> float:
    """What `own_row` gives where all scores are equal: nothing is learnt."""
    k = negatives
    return math.log1p(k) + (k * math.log1p(1 / k) if kind == "nce" else 0.0)


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, items: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(items, index)
        parts = [(items[part] @ query[:, :, None])[..., 0] for part in _parts(index, items)]
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        items, index = ctx.saved_tensors
        parts = _parts(index, items)
        weights = grads[0].split([part.shape[1] for part in parts], dim=1)
        found = [(w[:, None] @ items[part])[:, 0] for w, part in zip(weights, parts, strict=True)]
        return torch.stack(found).sum(dim=0), None, None


def _parts(index: Tensor, items: Tensor) -> tuple[Tensor, ...]:
    rows = max(1, _ELEMENTS // (max(1, len(index)) * items.shape[1]))
    return index.split(rows, dim=1)
