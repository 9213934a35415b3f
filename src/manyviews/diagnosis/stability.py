"""Whether features still move from one checkpoint to the next."""

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_features
from manyviews.diagnosis.uniformity import unit


def graph_stability(a: Tensor, b: Tensor, *, k: int = 20, chunk: int = 1024) -> float:
    """Mean overlap (Jaccard) of the k nearest neighbours of each image in two feature spaces.

    Ours; no published study of it is known. Near 1 from one checkpoint to the next, features have
    stopped moving; a sudden dip marks an instability. Meaningless where features have collapsed.

    Args:
        a: [N, D], features of the images at one checkpoint; compared by cosine.
        b: [N, E], of the same images, made the same way, at another.
        k: neighbours, an image itself not counted; below N.
        chunk: rows compared at a time; does not change the result.

    Returns:
        0 to 1; about k / (2 N - k) by chance.

    Raises:
        UsageError: unusable features, different numbers of images, or k not in 1 to N - 1.
    """
    check_features(a)
    check_features(b)
    n = len(a)
    if n != len(b):
        raise UsageError(
            f"The two checkpoints have features of {n} and {len(b)} samples; wanted the same "
            "samples. Embed one set of samples with both."
        )
    if not 1 <= k < n:
        raise UsageError(
            f"Graph stability asks for {k} neighbours among {n} samples; wanted 1 to {n - 1}. Give "
            "more samples, or a smaller k."
        )
    first, second = unit(a), unit(b)
    total = 0.0
    for start in range(0, n, chunk):
        near = [_neighbours(z, start, chunk, k) for z in (first, second)]
        shared = (near[0][:, :, None] == near[1][:, None, :]).sum(dim=(1, 2)).double()
        total += float((shared / (2 * k - shared)).sum())
    return total / n


def _neighbours(z: Tensor, start: int, chunk: int, k: int) -> Tensor:
    similarity = z[start : start + chunk] @ z.T
    similarity.diagonal(offset=start).fill_(-torch.inf)
    return similarity.topk(k, dim=1).indices
