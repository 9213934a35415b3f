"""Finding a key where every sample has two versions of it."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision

Relation = Literal["none", "distinct", "invariant"]
"""What the other version of a sample is to one: neither, a negative, or the positive."""


@full_precision
def versioned_info_nce(
    query: Tensor, own: Tensor, other: Tensor | None, *, be: Relation, temperature: float
) -> Tensor:
    """Find each query's key among both versions of the keys of the global batch.

    The mean of -log(exp(q_i.k_i / T) / sum over keys k of exp(q_i.k / T)), where k_i is the
    sample's key of the query's version, or of the other version for "invariant". All versions of
    other samples are negatives; of its own the version that is not the positive is one for
    "distinct".

    Args:
        query: [B, D] unit vectors of this rank.
        own: [B, D] unit vectors, keys of the same version; row i belongs to query i.
        other: [B, D] keys of the other version; None where there is none.
        be: what the other version is.
        temperature: T.

    Returns:
        Scalar; the mean over this rank's queries. Under autocast float32.

    Source: Patrick et al. 2021 (GDT), equation 3; facebookresearch/GDT gdt_helper.py, for one
    sample in each process.
    """
    keys = comm.gather(own)
    at = comm.share(torch.arange(len(keys), device=keys.device))
    if other is None:
        return F.cross_entropy(query @ keys.T / temperature, at)
    count = len(keys)
    logits = query @ torch.cat([keys, comm.gather(other)]).T / temperature
    if be == "distinct":
        return F.cross_entropy(logits, at)
    positive, left = (at + count, at) if be == "invariant" else (at, at + count)
    return F.cross_entropy(logits.scatter(1, left[:, None], -torch.inf), positive)
